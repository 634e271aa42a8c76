use std::collections::BTreeMap;

use aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::samples::{ANY_SIZE, below, request, with_body, with_header};
use crate::{
    backend::lambda::payload,
    message::inbound::InboundRequest,
    settings::{GatewayEvent, PayloadSettings, PayloadVersion},
};

mod properties;

fn settings(version: PayloadVersion) -> GatewayEvent {
    GatewayEvent {
        version,
        base64_encode_body: true,
        base64_is_written: false,
        account_id: "123456789012".to_owned(),
        api_id: "a1b2c3".to_owned(),
        stage: "$default".to_owned(),
        stage_variables: BTreeMap::new(),
    }
}

fn event(settings: GatewayEvent, inbound: &InboundRequest) -> Vec<u8> {
    payload::event(&PayloadSettings::Gateway(settings), inbound, ANY_SIZE).unwrap()
}

fn rest(inbound: &InboundRequest) -> Value {
    serde_json::from_slice(&event(settings(PayloadVersion::V1), inbound)).unwrap()
}

fn http(inbound: &InboundRequest) -> Value {
    serde_json::from_slice(&event(settings(PayloadVersion::V2), inbound)).unwrap()
}

/// A request for every member of an event.
fn full() -> InboundRequest {
    let mut inbound = request("POST", "/shop/cart/a%20b?many=1&many=2%2C&flag");
    for (name, value) in [
        ("user-agent", &b"curl/8"[..]),
        ("x-many", b"one"),
        ("x-many", b"two"),
        ("cookie", b"a=1; b=2;"),
        ("cookie", b"c=\"3\""),
    ] {
        inbound = with_header(inbound, name, value);
    }
    below(with_body(inbound, "text/plain", b"text"), "/shop/")
}

fn staged(version: PayloadVersion) -> GatewayEvent {
    let stage_variables = BTreeMap::from([("table".to_owned(), "orders".to_owned())]);
    GatewayEvent { stage: "prod".to_owned(), stage_variables, ..settings(version) }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one event")]
fn k22_to_k33_the_whole_event_1_0() {
    let expected = json!({
        "version": "1.0",
        "resource": "/shop/{proxy+}",
        "path": "/shop/cart/a%20b",
        "httpMethod": "POST",
        "headers": {
            "content-type": "text/plain",
            "cookie": "a=1; b=2;; c=\"3\"",
            "host": "shop.example.com:8080",
            "user-agent": "curl/8",
            "x-many": "two",
            "x-request-id": "request-1",
        },
        "multiValueHeaders": {
            "content-type": ["text/plain"],
            "cookie": ["a=1; b=2;; c=\"3\""],
            "host": ["shop.example.com:8080"],
            "user-agent": ["curl/8"],
            "x-many": ["one", "two"],
            "x-request-id": ["request-1"],
        },
        "queryStringParameters": { "flag": "", "many": "2," },
        "multiValueQueryStringParameters": { "flag": [""], "many": ["1", "2,"] },
        "pathParameters": { "proxy": "cart/a%20b" },
        "stageVariables": { "table": "orders" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3",
            "domainName": "shop.example.com",
            "domainPrefix": "shop",
            "extendedRequestId": "request-1",
            "httpMethod": "POST",
            "identity": {
                "accessKey": null,
                "accountId": null,
                "apiKey": null,
                "apiKeyId": null,
                "caller": null,
                "clientCert": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": "192.0.2.7",
                "user": null,
                "userAgent": "curl/8",
                "userArn": null,
            },
            "path": "/prod/shop/cart/a%20b",
            "protocol": "HTTP/1.1",
            "requestId": "request-1",
            "requestTime": "04/Mar/2020:19:03:58 +0000",
            "requestTimeEpoch": 1_583_348_638_390_i64,
            "resourceId": "/shop/{proxy+}",
            "resourcePath": "/shop/{proxy+}",
            "stage": "prod",
        },
        "body": "dGV4dA==",
        "isBase64Encoded": true,
    });
    let event = event(staged(PayloadVersion::V1), &full());
    assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), expected);
}

#[test]
fn k33_the_whole_event_2_0() {
    let expected = json!({
        "version": "2.0",
        "routeKey": "ANY /shop/{proxy+}",
        "rawPath": "/prod/shop/cart/a%20b",
        "rawQueryString": "many=1&many=2%2C&flag",
        "cookies": ["a=1", "b=2", "c=\"3\""],
        "headers": {
            "content-length": "4",
            "content-type": "text/plain",
            "host": "shop.example.com:8080",
            "user-agent": "curl/8",
            "x-many": "one,two",
            "x-request-id": "request-1",
        },
        "queryStringParameters": { "flag": "", "many": "1,2," },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3",
            "domainName": "shop.example.com",
            "domainPrefix": "shop",
            "http": {
                "method": "POST",
                "path": "/prod/shop/cart/a%20b",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8",
            },
            "requestId": "request-1",
            "routeKey": "ANY /shop/{proxy+}",
            "stage": "prod",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_i64,
        },
        "body": "text",
        "pathParameters": { "proxy": "cart/a b" },
        "isBase64Encoded": false,
        "stageVariables": { "table": "orders" },
    });
    let event = event(staged(PayloadVersion::V2), &full());
    assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), expected);
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    for version in [PayloadVersion::V1, PayloadVersion::V2] {
        assert_eq!(event(staged(version), &full()), event(staged(version), &full()));
    }
}

#[test]
fn k22_to_k33_aws_lambda_events_reads_every_field_of_1_0() {
    let event: ApiGatewayProxyRequest =
        serde_json::from_slice(&event(staged(PayloadVersion::V1), &full())).unwrap();
    assert_eq!(event.resource.as_deref(), Some("/shop/{proxy+}"));
    assert_eq!(event.path.as_deref(), Some("/shop/cart/a%20b"));
    assert_eq!(event.http_method.as_str(), "POST");
    assert_eq!(event.headers["x-many"], "two");
    let many: Vec<_> = event.multi_value_headers.get_all("x-many").iter().collect();
    assert_eq!(many, ["one", "two"]);
    assert_eq!(event.query_string_parameters.first("many"), Some("2,"));
    assert_eq!(event.multi_value_query_string_parameters.all("many"), Some(vec!["1", "2,"]));
    assert_eq!(event.path_parameters["proxy"], "cart/a%20b");
    assert_eq!(event.stage_variables["table"], "orders");
    assert_eq!(event.body.as_deref(), Some("dGV4dA=="));
    assert!(event.is_base64_encoded);
    let context = event.request_context;
    assert_eq!(context.account_id.as_deref(), Some("123456789012"));
    assert_eq!(context.apiid.as_deref(), Some("a1b2c3"));
    assert_eq!(context.resource_id.as_deref(), Some("/shop/{proxy+}"));
    assert_eq!(context.resource_path.as_deref(), Some("/shop/{proxy+}"));
    assert_eq!(context.stage.as_deref(), Some("prod"));
    assert_eq!(context.domain_name.as_deref(), Some("shop.example.com"));
    assert_eq!(context.domain_prefix.as_deref(), Some("shop"));
    assert_eq!(context.request_id.as_deref(), Some("request-1"));
    assert_eq!(context.protocol.as_deref(), Some("HTTP/1.1"));
    assert_eq!(context.path.as_deref(), Some("/prod/shop/cart/a%20b"));
    assert_eq!(context.http_method.as_str(), "POST");
    assert_eq!(context.request_time.as_deref(), Some("04/Mar/2020:19:03:58 +0000"));
    assert_eq!(context.request_time_epoch, 1_583_348_638_390);
    assert_eq!(context.identity.source_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(context.identity.user_agent.as_deref(), Some("curl/8"));
    assert_eq!(context.identity.caller, None);
}

#[test]
fn k33_aws_lambda_events_reads_every_field_of_2_0() {
    let event: ApiGatewayV2httpRequest =
        serde_json::from_slice(&event(staged(PayloadVersion::V2), &full())).unwrap();
    assert_eq!(event.version.as_deref(), Some("2.0"));
    assert_eq!(event.route_key.as_deref(), Some("ANY /shop/{proxy+}"));
    assert_eq!(event.raw_path.as_deref(), Some("/prod/shop/cart/a%20b"));
    assert_eq!(event.raw_query_string.as_deref(), Some("many=1&many=2%2C&flag"));
    assert_eq!(event.cookies.unwrap(), ["a=1", "b=2", "c=\"3\""]);
    assert_eq!(event.headers["x-many"], "one,two");
    assert!(!event.headers.contains_key("cookie"));
    assert_eq!(event.query_string_parameters.first("flag"), Some(""));
    assert_eq!(event.path_parameters["proxy"], "cart/a b");
    assert_eq!(event.stage_variables["table"], "orders");
    assert_eq!(event.body.as_deref(), Some("text"));
    assert!(!event.is_base64_encoded);
    let context = event.request_context;
    assert_eq!(context.route_key.as_deref(), Some("ANY /shop/{proxy+}"));
    assert_eq!(context.account_id.as_deref(), Some("123456789012"));
    assert_eq!(context.apiid.as_deref(), Some("a1b2c3"));
    assert_eq!(context.stage.as_deref(), Some("prod"));
    assert_eq!(context.request_id.as_deref(), Some("request-1"));
    assert_eq!(context.domain_name.as_deref(), Some("shop.example.com"));
    assert_eq!(context.domain_prefix.as_deref(), Some("shop"));
    assert_eq!(context.time.as_deref(), Some("04/Mar/2020:19:03:58 +0000"));
    assert_eq!(context.time_epoch, 1_583_348_638_390);
    assert_eq!(context.http.method.as_str(), "POST");
    assert_eq!(context.http.path.as_deref(), Some("/prod/shop/cart/a%20b"));
    assert_eq!(context.http.protocol.as_deref(), Some("HTTP/1.1"));
    assert_eq!(context.http.source_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(context.http.user_agent.as_deref(), Some("curl/8"));
    assert!(context.authorizer.is_none() && context.authentication.is_none());
}

#[test]
fn k23_a_flag_is_an_empty_text_as_with_aws() {
    let event = rest(&request("GET", "/?boolean"));
    assert_eq!(event["queryStringParameters"], json!({ "boolean": "" }));
    assert_eq!(event["multiValueQueryStringParameters"], json!({ "boolean": [""] }));
}

#[test]
fn k24_the_remainder_is_the_proxy_parameter_and_none_is_null() {
    let inbound = below(request("GET", "/v1/a+b%2Fc%C3%A9%FF"), "/v1/");
    assert_eq!(rest(&inbound)["pathParameters"], json!({ "proxy": "a+b%2Fc%C3%A9%FF" }));
    // a plus sign is literal in a path, and invalid UTF-8 is read as Latin-1
    assert_eq!(http(&inbound)["pathParameters"], json!({ "proxy": "a+b/c\u{C3}\u{A9}\u{FF}" }));
    assert_eq!(rest(&request("GET", "/v1/a"))["pathParameters"], Value::Null);
    assert_eq!(http(&request("GET", "/v1/a")).get("pathParameters"), None);
}

/// The first two paths were recorded at AWS.
#[test]
fn e1_the_proxy_parameter_is_raw_in_1_0_without_the_slash_at_the_end_and_decoded_in_2_0() {
    for (path, raw, decoded) in [
        (
            "/v1/u/test%2Balias@gmail.com/plus/test+alias@gmail.com",
            "u/test%2Balias@gmail.com/plus/test+alias@gmail.com",
            "u/test+alias@gmail.com/plus/test+alias@gmail.com",
        ),
        ("/v1/test-path/", "test-path", "test-path/"),
        ("/v1/my-id%2F100", "my-id%2F100", "my-id/100"),
        ("/v1/100%25", "100%25", "100%"),
        ("/v1/%2541", "%2541", "%41"),
        ("/v1//a//b//", "/a//b/", "/a//b//"),
    ] {
        let inbound = below(request("GET", path), "/v1/");
        let (first, second) = (rest(&inbound), http(&inbound));
        assert_eq!((&first["path"], &first["pathParameters"]), (&json!(path), &json!({ "proxy": raw })));
        assert_eq!(second["pathParameters"], json!({ "proxy": decoded }), "{path}");
        assert_eq!(second["rawPath"], path);
    }
    // nothing is left for the parameter
    assert_eq!(rest(&below(request("GET", "/v1/"), "/v1/"))["pathParameters"], Value::Null);
}

/// Names and values of a request that was recorded at AWS.
#[test]
fn e4_the_single_value_maps_of_1_0_hold_the_last_of_several() {
    let inbound =
        request("POST", "/test-path?category=electronics&category=books&price=10&price=20&price=30");
    let inbound = with_header(with_header(inbound, "x-many", b"one"), "x-many", b"two");
    let event = rest(&inbound);
    assert_eq!(event["queryStringParameters"], json!({ "category": "books", "price": "30" }));
    assert_eq!(
        event["multiValueQueryStringParameters"],
        json!({ "category": ["electronics", "books"], "price": ["10", "20", "30"] })
    );
    assert_eq!(event["headers"]["x-many"], "two");
    assert_eq!(event["multiValueHeaders"]["x-many"], json!(["one", "two"]));
}

#[test]
fn e5_arguments_stand_in_the_order_in_which_they_were_sent() {
    let inbound = request("GET", "/?b=2&a=1&c=3&%62=4&%C3%B6=5&%F6=6");
    let event = String::from_utf8(event(settings(PayloadVersion::V1), &inbound)).unwrap();
    let single = r#""queryStringParameters":{"b":"4","a":"1","c":"3","ö":"6"}"#;
    let multiple = r#""multiValueQueryStringParameters":{"b":["2","4"],"a":["1"],"c":["3"],"ö":["5","6"]}"#;
    assert!(event.contains(single) && event.contains(multiple), "{event}");
    let event = String::from_utf8(super::tests::event(settings(PayloadVersion::V2), &inbound)).unwrap();
    assert!(event.contains(r#""queryStringParameters":{"b":"2,4","a":"1","c":"3","ö":"5,6"}"#), "{event}");
}

#[test]
fn e3_2_0_tells_the_bodys_length_as_http_apis_do_and_1_0_does_not() {
    let inbound = with_body(request("POST", "/"), "application/pdf", "größe".as_bytes());
    assert_eq!(http(&inbound)["headers"]["content-length"], "7");
    assert_eq!(http(&request("GET", "/"))["headers"]["content-length"], "0");
    assert_eq!(rest(&inbound)["headers"].get("content-length"), None);
}

#[test]
fn k25_the_resource_is_the_path_where_the_route_has_no_remainder() {
    let event = rest(&request("GET", "/orders?a=1"));
    assert_eq!((&event["resource"], &event["path"]), (&json!("/orders"), &json!("/orders")));
    assert_eq!(event["requestContext"]["path"], "/orders");
    assert_eq!(event["version"], "1.0");
}

#[test]
fn k27_k29_what_is_base64_in_1_0() {
    let inbound = |content_type| with_body(request("POST", "/"), content_type, b"text");
    for content_type in ["", "application/json", "text/plain", "application/pdf"] {
        let encoded = rest(&inbound(content_type));
        assert_eq!((&encoded["body"], &encoded["isBase64Encoded"]), (&json!("dGV4dA=="), &json!(true)));
        let plain = GatewayEvent { base64_encode_body: false, ..settings(PayloadVersion::V1) };
        let plain: Value = serde_json::from_slice(&event(plain, &inbound(content_type))).unwrap();
        assert_eq!((&plain["body"], &plain["isBase64Encoded"]), (&json!("text"), &json!(false)));
    }
}

#[test]
fn k28_no_body_is_null_and_not_base64_and_in_2_0_left_out() {
    for inbound in [request("GET", "/"), with_body(request("POST", "/"), "text/plain", b"")] {
        let event = rest(&inbound);
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&Value::Null, &json!(false)));
        let event = http(&inbound);
        assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)));
    }
}

#[test]
fn k30_a_large_body_goes_whole() {
    let body: Vec<u8> = (0..32_u32 << 10).map(|number| number.to_le_bytes()[0]).collect();
    let event = rest(&with_body(request("POST", "/"), "", &body));
    assert_eq!(STANDARD.decode(event["body"].as_str().unwrap()).unwrap(), body);
}

#[test]
fn k32_what_is_absent_is_null_in_1_0_and_left_out_in_2_0() {
    let event = rest(&request("GET", "/"));
    for name in [
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "body",
    ] {
        assert_eq!(event.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(event["requestContext"].get("authorizer"), None);
    assert_eq!(event["requestContext"]["identity"]["userAgent"], Value::Null);
    let event = http(&request("GET", "/?"));
    for name in ["queryStringParameters", "pathParameters", "stageVariables", "body", "cookies"] {
        assert_eq!(event.get(name), None, "{name}");
    }
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["requestContext"]["http"]["userAgent"], "");
    assert_eq!(event["requestContext"].get("authentication"), None);
}

#[test]
fn a_request_without_host_address_or_id_has_an_event_too() {
    let mut inbound = request("GET", "/");
    inbound.host = None;
    inbound.peer = None;
    inbound.headers.clear();
    let event = rest(&inbound);
    assert_eq!(event["headers"], json!({}));
    assert_eq!(event["requestContext"]["domainName"], "");
    assert_eq!(event["requestContext"]["domainPrefix"], "");
    assert_eq!(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
    assert_eq!(http(&inbound)["requestContext"]["http"]["sourceIp"], "127.0.0.1");
}

#[test]
fn l03_repeated_headers_are_joined_in_2_0() {
    let inbound = with_header(request("GET", "/"), "x-a", b"unit");
    let event = http(&with_header(inbound, "x-a", b"test"));
    assert_eq!(event["headers"]["x-a"], "unit,test");
}

#[test]
fn l04_l05_l06_what_is_base64_in_2_0() {
    let body = |content_type, base64_encode_body, bytes: &[u8]| {
        let settings = GatewayEvent { base64_encode_body, ..settings(PayloadVersion::V2) };
        let inbound = with_body(request("POST", "/"), content_type, bytes);
        let event: Value = serde_json::from_slice(&event(settings, &inbound)).unwrap();
        (event["body"].as_str().unwrap().to_owned(), event["isBase64Encoded"].as_bool().unwrap())
    };
    let plain = ("text".to_owned(), false);
    let encoded = ("dGV4dA==".to_owned(), true);
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/javascript",
        "application/xml",
        "text/css",
    ] {
        assert_eq!(body(content_type, true, b"text"), plain, "{content_type}");
        assert_eq!(body(content_type, true, b"\xFF"), ("/w==".to_owned(), true));
    }
    for content_type in ["", "application/pdf", "application/x-www-form-urlencoded"] {
        assert_eq!(body(content_type, true, b"text"), encoded, "{content_type}");
        assert_eq!(body(content_type, false, b"text"), plain, "{content_type}");
        assert_eq!(body(content_type, false, b"\xFF"), ("/w==".to_owned(), true));
    }
}

#[test]
fn l07_repeated_arguments_are_all_there() {
    let inbound = request("GET", "/?a=1&a=2");
    assert_eq!(http(&inbound)["queryStringParameters"]["a"], "1,2");
    assert_eq!(rest(&inbound)["queryStringParameters"]["a"], "2");
    assert_eq!(rest(&inbound)["multiValueQueryStringParameters"]["a"], json!(["1", "2"]));
}

#[test]
fn a_named_stage_is_in_the_raw_path_as_with_aws_and_the_default_one_is_not() {
    let inbound = request("GET", "/orders%2F1?a=1");
    for (stage, path) in [("$default", "/orders%2F1"), ("", "/orders%2F1"), ("prod", "/prod/orders%2F1")] {
        let settings = GatewayEvent { stage: stage.to_owned(), ..settings(PayloadVersion::V2) };
        let event: Value = serde_json::from_slice(&event(settings, &inbound)).unwrap();
        assert_eq!(
            (&event["rawPath"], &event["requestContext"]["http"]["path"]),
            (&json!(path), &json!(path))
        );
        assert_eq!(event["routeKey"], "ANY /orders%2F1");
    }
}

#[test]
fn cookie_lines_are_one_in_1_0() {
    let inbound = with_header(request("GET", "/"), "cookie", b"a=1; b=2");
    let event = rest(&with_header(inbound, "cookie", b"c=3"));
    assert_eq!(event["headers"]["cookie"], "a=1; b=2; c=3");
    assert_eq!(event["multiValueHeaders"]["cookie"], json!(["a=1; b=2; c=3"]));
}

#[test]
fn cookies_are_cut_at_semicolons_alone() {
    let inbound = with_header(request("GET", "/"), "cookie", b" ;; a=1,2 ;\tb=\"x y\"\xA0;");
    assert_eq!(http(&inbound)["cookies"], json!(["a=1,2", "b=\"x y\"\u{A0}"]));
    let empty = http(&with_header(request("GET", "/"), "cookie", b" ; "));
    assert_eq!((empty.get("cookies"), empty["headers"].get("cookie")), (None, None));
}
