use actix_http::header::HeaderName;
use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{
        reply as answer,
        tests::{PLAIN, text, upstream, values, why},
    },
    *,
};
use crate::{
    message::error::ErrorKind,
    settings::{AnswerSettings, InvocationType, InvokeMode},
};

/// Headers of the response of the Lambda API itself.
const API: [(&str, &str); 3] =
    [("x-amzn-requestid", "api"), ("content-type", "application/json"), ("content-length", "99")];
const BOTH: [PayloadVersion; 2] = [PayloadVersion::V1, PayloadVersion::V2];

fn answered(
    version: PayloadVersion,
    invoke_mode: InvokeMode,
    upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    let settings = AnswerSettings { is_proxy_integration: true, version, ..PLAIN };
    answer(settings, InvocationType::RequestResponse, invoke_mode, upstream)
}

fn called(version: PayloadVersion, output: &str) -> Result<ClientReply, ProxyError> {
    answered(version, InvokeMode::Buffered, upstream(200, &API, output))
}

/// The answer that both versions give, but for the type of a body whose function names none (E6).
fn good(output: &str) -> ClientReply {
    let [one, two] = BOTH.map(|version| called(version, output).unwrap());
    assert_eq!(one.status, two.status);
    assert_eq!(format!("{:?}", one.body), format!("{:?}", two.body));
    let mut lines = sorted(&two);
    for (_, value) in lines.iter_mut().filter(|(_, value)| value == "\"text/plain; charset=utf-8\"") {
        "\"application/json\"".clone_into(value);
    }
    assert_eq!(sorted(&one), lines);
    one
}

/// The reason for which both versions refuse.
fn bad(output: &str) -> String {
    let [one, two] = BOTH.map(|version| why(called(version, output)));
    assert_eq!(one, two);
    one
}

fn sorted(reply: &ClientReply) -> Vec<(String, String)> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), format!("{value:?}"));
    let mut lines: Vec<_> = reply.headers.iter().map(line).collect();
    lines.sort_by(|one, two| one.0.cmp(&two.0));
    lines
}

#[test]
fn r13_a_status_alone_is_an_answer() {
    let reply = good(r#"{"statusCode":201}"#);
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(text(&reply), "");
    assert_eq!(values(&reply, "content-type"), ["application/json"]);
    assert_eq!(values(&reply, "x-amzn-requestid"), ["api"]);
    assert!(!reply.headers.contains_key("content-length"));
}

#[test]
fn r14_r34_l08_status_headers_and_body_are_the_functions() {
    let reply = good(
        r#"{"statusCode":201,"headers":{"X-One":"1","x-number":1.50,"x-true":true,"X-Text":"ü"},
            "body":"hello world","isBase64Encoded":false,"cookies":["a=1","b=2"],"other":{"a":[1]}}"#,
    );
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(text(&reply), "hello world");
    for (name, expected) in [("x-one", "1"), ("x-number", "1.5"), ("x-true", "true"), ("x-text", "ü")] {
        assert_eq!(values(&reply, name), [expected]);
    }
    assert_eq!(values(&reply, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(values(&reply, "content-type"), ["application/json"]);
}

#[test]
fn r14_a_body_with_escapes_is_unescaped() {
    assert_eq!(text(&good(r#"{"statusCode":200,"body":"{\"a\":\"\u00e9\\n\"}"}"#)), r#"{"a":"é\n"}"#);
}

#[test]
fn r14_a_body_without_escapes_is_not_copied() {
    let sent = upstream(200, &API, &format!(r#"{{"statusCode":200,"body":"{}"}}"#, "a".repeat(10_000)));
    let ReplyBody::Whole(output) = &sent.body else { unreachable!("it is whole") };
    let range = output.as_ptr_range();
    let reply = answered(PayloadVersion::V1, InvokeMode::Buffered, sent).unwrap();
    assert!(range.contains(&text(&reply).as_ptr()));
}

#[test]
fn r15_r16_l09_the_functions_headers_replace_the_apis_whatever_their_case() {
    let reply = good(
        r#"{"statusCode":200,"headers":{"X-AMZN-RequestId":"mine","Content-TYPE":"text/plain"},"body":""}"#,
    );
    assert_eq!(values(&reply, "x-amzn-requestid"), ["mine"]);
    assert_eq!(values(&reply, "content-type"), ["text/plain"]);
}

#[test]
fn r17_r19_a_status_that_is_none_is_502() {
    for status in [
        r#""+200""#,
        r#""0200""#,
        r#""200 ""#,
        r#""hello""#,
        "99",
        "100",
        "199",
        "600",
        "-200",
        "200.5",
        "true",
        "null",
        "[200]",
        r#""""#,
    ] {
        let cause = bad(&format!(r#"{{"statusCode":{status},"body":"secret"}}"#));
        let expected = format!("statusCode is {status}, expected a number from 200 to 599");
        assert_eq!(cause, expected);
    }
    let long = bad(&format!(r#"{{"statusCode":"{}"}}"#, "x".repeat(200)));
    assert_eq!(long, format!("statusCode is \"{}…, expected a number from 200 to 599", "x".repeat(99)));
}

#[test]
fn r18_a_status_may_be_a_numeric_string_or_a_whole_number_with_a_point() {
    for status in [r#""418""#, "418", "418.0", "4.18e2"] {
        assert_eq!(good(&format!(r#"{{"statusCode":{status}}}"#)).status, StatusCode::IM_A_TEAPOT);
    }
}

#[test]
fn r19_l12_without_a_status_version_1_is_502() {
    for output in ["{}", r#"{"headers":{},"body":"x"}"#] {
        assert_eq!(why(called(PayloadVersion::V1, output)), "statusCode is missing");
    }
    for output in ["1", "null", "[]", r#""text""#] {
        let cause = why(called(PayloadVersion::V1, output));
        assert_eq!(cause, "the function's answer is JSON, but not an object");
    }
}

#[test]
fn r20_headers_that_are_no_object_are_502() {
    for member in ["headers", "multiValueHeaders"] {
        for value in [r#""text""#, "1", "true", "[1]"] {
            let cause = bad(&format!(r#"{{"statusCode":200,"{member}":{value}}}"#));
            assert_eq!(cause, format!("{member} must be an object"));
        }
        for value in [r#"{"x":{}}"#, r#"{"x":[[]]}"#, r#"{"x":["a",{}]}"#] {
            let cause = bad(&format!(r#"{{"statusCode":200,"{member}":{value}}}"#));
            assert_eq!(cause, format!("{member}: `x` is not a string, number or boolean"));
        }
        // PHP's empty map
        assert_eq!(good(&format!(r#"{{"statusCode":200,"{member}":[]}}"#)).status, StatusCode::OK);
    }
}

#[test]
fn r21_e9_a_body_that_is_no_string_goes_out_as_the_json_that_it_is() {
    log::set_max_level(log::LevelFilter::Debug);
    for body in ["1", "true", "{}", r#"["te\nxt"]"#, "1.50", r#"{ "response": "yes" }"#] {
        for flag in ["", r#","isBase64Encoded":false"#] {
            let reply = good(&format!(r#"{{"statusCode":200,"body": {body} {flag}}}"#));
            assert_eq!(text(&reply), body);
            assert_eq!(values(&reply, "content-type"), ["application/json"]);
            let [note] = &reply.notes[..] else { panic!("{:?}", reply.notes) };
            assert_eq!(note.level, Level::Debug);
            assert!(note.text.contains("`body` is not a string"), "{}", note.text);
        }
        let cause = bad(&format!(r#"{{"statusCode":200,"body":{body},"isBase64Encoded":true}}"#));
        assert_eq!(cause, "isBase64Encoded is true, but body is not a string");
    }
    for body in ["null", r#""text""#] {
        assert_eq!(good(&format!(r#"{{"statusCode":200,"body":{body}}}"#)).notes, []);
    }
}

#[test]
fn r22_a_body_that_is_null_or_empty_is_empty() {
    for flag in ["true", "false"] {
        for body in ["null", r#""""#] {
            let reply = good(&format!(r#"{{"statusCode":200,"body":{body},"isBase64Encoded":{flag}}}"#));
            assert_eq!(text(&reply), "");
        }
    }
}

#[test]
fn r23_a_flag_that_is_no_boolean_is_502() {
    for flag in [r#""abc""#, "[]", "1", r#""true""#] {
        let cause = bad(&format!(r#"{{"statusCode":200,"body":"dGVzdA==","isBase64Encoded":{flag}}}"#));
        assert_eq!(cause, "isBase64Encoded must be a boolean");
    }
}

#[test]
fn e6_e9_a_body_without_a_type_has_its_versions_and_one_that_is_no_string_is_json() {
    for (body, second) in [
        (r#""x""#, "text/plain; charset=utf-8"),
        ("null", "text/plain; charset=utf-8"),
        ("{}", "application/json"),
    ] {
        let output = format!(r#"{{"statusCode":200,"body":{body}}}"#);
        let [one, two] = BOTH.map(|version| called(version, &output).unwrap());
        assert_eq!(values(&one, "content-type"), ["application/json"]);
        assert_eq!(values(&two, "content-type"), [second]);
    }
}

#[test]
fn e7_a_flag_that_is_null_is_false() {
    let reply = good(r#"{"statusCode":200,"body":"dGVzdA==","isBase64Encoded":null}"#);
    assert_eq!(text(&reply), "dGVzdA==");
}

#[test]
fn r24_r25_l10_a_body_is_decoded_if_the_flag_says_so() {
    for (flag, body, expected) in [
        ("true", "dGVzdA==", "test"),
        ("true", "dGVzdA", "test"),
        ("true", r"dGVzdA\u003d=", "test"),
        ("true", "Q29mZmVl", "Coffee"),
        ("false", "dGVzdA=", "dGVzdA="),
        ("false", "Beans", "Beans"),
    ] {
        let reply = good(&format!(r#"{{"statusCode":200,"body":"{body}","isBase64Encoded":{flag}}}"#));
        assert_eq!(text(&reply), expected);
    }
}

#[test]
fn r26_base64_that_is_none_is_502() {
    for body in ["!", "dGVz dA==", "dGVzd-__", "A", "dGVzdA==dGVzdA=="] {
        let cause = bad(&format!(r#"{{"statusCode":200,"body":"{body}","isBase64Encoded":true}}"#));
        assert!(cause.starts_with("isBase64Encoded is true, but body is not standard base64: "), "{cause}");
    }
}

#[test]
fn r27_members_that_are_null_are_not_there() {
    let reply = good(r#"{"statusCode":201,"headers":null,"multiValueHeaders":null,"cookies":null}"#);
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.headers.len(), 2);
}

#[test]
fn r28_many_values_are_many_lines() {
    let reply = good(
        r#"{"statusCode":200,"headers":{"Age":"3600"},
            "multiValueHeaders":{"Access-Control-Allow-Origin":["a.example","b.example"]}}"#,
    );
    assert_eq!(values(&reply, "age"), ["3600"]);
    assert_eq!(values(&reply, "access-control-allow-origin"), ["a.example", "b.example"]);
}

#[test]
fn r28_names_that_differ_in_case_alone_are_lines_of_one_header() {
    let reply = good(r#"{"statusCode":200,"headers":{"Set-Cookie":"a=1","set-cookie":"b=2"}}"#);
    assert_eq!(values(&reply, "set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn r29_e2_the_two_maps_are_merged_the_many_values_first() {
    let written = concat!(
        r#""statusCode":200,"headers":{"Set-Cookie":"csrf=1"},"#,
        r#""multiValueHeaders":{"Set-Cookie":["s=1","t=2"]}"#,
    );
    let reply = good(&format!("{{{written}}}"));
    assert_eq!(values(&reply, "set-cookie"), ["s=1", "t=2", "csrf=1"]);
    let reply = good(&format!(r#"{{{written},"cookies":["u=3","csrf=1"]}}"#));
    assert_eq!(values(&reply, "set-cookie"), ["u=3", "csrf=1", "s=1", "t=2", "csrf=1"]);
    assert_eq!(values(&streamed(&format!("{{{written}}}")).unwrap(), "set-cookie"), ["s=1", "t=2", "csrf=1"]);
    // as recorded at AWS
    let reply = good(concat!(
        r#"{"statusCode":200,"multiValueHeaders":{"tesT-Multi":["value-multi"]},"#,
        r#""headers":{"test-multi":"value-solo"}}"#,
    ));
    assert_eq!(values(&reply, "test-multi"), ["value-multi", "value-solo"]);
}

#[test]
fn e2_of_a_pair_that_is_in_both_maps_one_stays() {
    let reply = good(
        r#"{"statusCode":200,"headers":{"x-one":"a","X-ONE":"c","x-two":"single","x-three":"1"},
            "multiValueHeaders":{"X-one":["a","b","a"],"x-two":[],"x-three":1}}"#,
    );
    assert_eq!(values(&reply, "x-one"), ["a", "b", "a", "c"]);
    assert_eq!(values(&reply, "x-two"), ["single"], "an array without values is no pair");
    assert_eq!(values(&reply, "x-three"), ["1"]);
}

#[test]
fn e2_a_second_type_is_not_added_to_the_first() {
    let reply = good(
        r#"{"statusCode":200,"headers":{"content-type":"text/plain"},
            "multiValueHeaders":{"Content-Type":["text/html"]},"body":"x"}"#,
    );
    assert_eq!(values(&reply, "content-type"), ["text/html"]);
}

#[test]
fn r30_values_that_are_null_are_empty() {
    let reply = good(concat!(
        r#"{"statusCode":200,"headers":{"x-one":null},"#,
        r#""multiValueHeaders":{"x-two":[null,"a"],"x-three":null}}"#,
    ));
    assert_eq!(values(&reply, "x-one"), [""]);
    assert_eq!(values(&reply, "x-two"), ["", "a"]);
    assert_eq!(values(&reply, "x-three"), [""]);
}

#[test]
fn r31_r35_framing_and_connection_are_not_the_functions() {
    let reply = good(concat!(
        r#"{"statusCode":200,"headers":{"Transfer-Encoding":"chunked","Content-Length":"3","#,
        r#""Connection":"x-hop",
            "X-Hop":"1","Keep-Alive":"1","Upgrade":"h2c","x-end":"1"},"body":"hello"}"#,
    ));
    let names: Vec<_> = sorted(&reply).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["content-type", "x-amzn-requestid", "x-end"]);
    assert_eq!(text(&reply), "hello");
}

#[test]
fn l08_x15_names_and_values_that_are_no_http_are_502() {
    for (headers, expected) in [
        (r#"{":other":"1"}"#, "`:other` is not a valid header name"),
        (r#"{"a b":"1"}"#, "`a b` is not a valid header name"),
        (r#"{"":"1"}"#, "`` is not a valid header name"),
        (r#"{"x\n":"1"}"#, "`x\\n` is not a valid header name"),
        // as httparse reads an upstream's
        (r#"{"x\"y":"1"}"#, "`x\"y` is not a valid header name"),
        (r#"{"x":"secret\r\ny: 1"}"#, "`x` has an invalid header value"),
        (r#"{"x":"secret\u0000"}"#, "`x` has an invalid header value"),
        (r#"{"x":"secret\r"}"#, "`x` has an invalid header value"),
        (r#"{"x":["a","secret\u007f"]}"#, "`x` has an invalid header value"),
    ] {
        for member in ["headers", "multiValueHeaders"] {
            let cause = bad(&format!(r#"{{"statusCode":200,"{member}":{headers}}}"#));
            assert_eq!(cause, format!("{member}: {expected}"));
        }
    }
}

#[test]
fn r32_l11_an_answer_that_is_no_json_is_502() {
    for output in ["secret", r#"{"statusCode":200"#, r#"{"statusCode":200} x"#, "[1", "\u{a0}{}", "tru"] {
        let cause = bad(output);
        assert!(cause.starts_with("the function's answer is not JSON: "), "{cause}");
        assert!(!cause.contains("secret"));
    }
    for version in BOTH {
        let mut sent = upstream(200, &API, "");
        sent.body = ReplyBody::Whole(Bytes::from_static(b"{\"statusCode\":200,\"body\":\"\xff\"}"));
        let cause = why(answered(version, InvokeMode::Buffered, sent));
        assert_eq!(cause, "the function's answer is not UTF-8");
    }
}

#[test]
fn r33_an_empty_answer_is_502() {
    for output in ["", " \n"] {
        assert_eq!(bad(output), "the function's answer is empty");
    }
    for version in BOTH {
        let mut sent = upstream(200, &API, "");
        sent.body = ReplyBody::None { length: None };
        assert_eq!(why(answered(version, InvokeMode::Buffered, sent)), "the function's answer is empty");
    }
}

#[test]
fn r36_cookies_are_lines_before_those_of_the_headers() {
    let reply = good(
        r#"{"statusCode":200,"headers":{"Set-Cookie":"c=3"},"cookies":["a=1; Path=/","b=2"],"body":"x"}"#,
    );
    assert_eq!(values(&reply, "set-cookie"), ["a=1; Path=/", "b=2", "c=3"]);
    for cookies in [r#""a=1""#, "{}", "[1]", "[null]", r#"["a\n"]"#] {
        let cause = bad(&format!(r#"{{"statusCode":200,"cookies":{cookies}}}"#));
        assert_eq!(cause, "cookies must be an array of strings that are valid header values");
    }
}

#[test]
fn r36_version_2_takes_json_without_a_status_for_the_body() {
    for output in
        ["\"text\"", " {\"a\": [] } ", "null", "1e2", r#"{"headers":"x","body":1,"isBase64Encoded":null}"#]
    {
        let sent = upstream(200, &[("content-type", "text/x-odd"), ("x-amzn-requestid", "1")], output);
        let reply = answered(PayloadVersion::V2, InvokeMode::Buffered, sent).unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(values(&reply, "content-type"), ["application/json"]);
        assert_eq!(values(&reply, "x-amzn-requestid"), ["1"]);
        assert_eq!(text(&reply), output);
    }
}

#[test]
fn l08_an_answer_without_a_type_is_json() {
    let reply =
        answered(PayloadVersion::V1, InvokeMode::Buffered, upstream(200, &[], r#"{"statusCode":200}"#));
    assert_eq!(values(&reply.unwrap(), "content-type"), ["application/json"]);
}

#[test]
fn a_status_that_has_no_body_gets_none() {
    for status in [204, 205, 304] {
        let output = format!(r#"{{"statusCode":{status},"body":"x","headers":{{"x-one":"1"}}}}"#);
        let reply = called(PayloadVersion::V1, &output).unwrap();
        assert!(matches!(reply.body, ReplyBody::None { length: None }));
        assert_eq!(values(&reply, "x-one"), ["1"]);
    }
}

#[test]
fn c6_the_functions_length_is_told_apart_from_the_bodys() {
    for (member, expected) in [
        (r#""headers":{"Content-Length":"1234"}"#, Some(1234)),
        (r#""headers":{"content-length":1234}"#, Some(1234)),
        (
            r#""multiValueHeaders":{"content-length":["1234"]},"headers":{"Content-Length":"1234"}"#,
            Some(1234),
        ),
        (r#""headers":{"content-length":"1","Content-Length":"2"}"#, None),
        (r#""headers":{"content-length":"+1"}"#, None),
        (r#""headers":{"content-length":""}"#, None),
        (r#""headers":{"content-length":"99999999999999999999999"}"#, None),
        (r#""headers":{}"#, None),
    ] {
        let reply = good(&format!(r#"{{"statusCode":200,{member},"body":"x"}}"#));
        assert_eq!(reply.length, expected, "{member}");
        assert!(!reply.headers.contains_key("content-length"));
        assert_eq!(streamed(&format!("{{{member}}}")).unwrap().length, expected, "{member}");
        let not_modified = good(&format!(r#"{{"statusCode":304,{member}}}"#)).body;
        assert!(matches!(not_modified, ReplyBody::None { length } if length == expected), "{member}");
        for status in [204, 205] {
            let none = good(&format!(r#"{{"statusCode":{status},{member}}}"#)).body;
            assert!(matches!(none, ReplyBody::None { length: None }), "{member}");
        }
    }
}

fn streamed(prelude: &str) -> Result<ClientReply, ProxyError> {
    let mut sent = upstream(200, &[("x-amzn-requestid", "api")], "words");
    sent.prelude = Some(Bytes::copy_from_slice(prelude.as_bytes()));
    answered(PayloadVersion::V1, InvokeMode::ResponseStream, sent)
}

#[test]
fn a_prelude_says_status_headers_and_cookies_and_the_body_comes_after_it() {
    let reply = streamed(
        r#"{"statusCode":418,"headers":{"content-type":"text/plain","X-Amzn-RequestId":"mine",
            "Transfer-Encoding":"chunked"},"multiValueHeaders":{"x-many":["1","2"]},"cookies":["a=1"],
            "body":1,"isBase64Encoded":"x"}"#,
    )
    .unwrap();
    assert_eq!(reply.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(text(&reply), "words");
    for (name, expected) in [
        ("content-type", &["text/plain"][..]),
        ("x-amzn-requestid", &["mine"]),
        ("x-many", &["1", "2"]),
        ("set-cookie", &["a=1"]),
        ("transfer-encoding", &[]),
    ] {
        assert_eq!(values(&reply, name), expected);
    }
}

#[test]
fn l12_a_prelude_without_a_status_is_200_and_without_a_type_is_bytes() {
    let reply = streamed("{}").unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(values(&reply, "content-type"), ["application/octet-stream"]);
    let reply = streamed(r#"{"statusCode":204}"#).unwrap();
    assert!(matches!(reply.body, ReplyBody::None { .. }));
}

#[test]
fn a_prelude_that_says_nothing_sound_is_502() {
    for prelude in ["", "[]", "{", r#"{"statusCode":null}"#, r#"{"statusCode":101}"#, r#"{"headers":"x"}"#] {
        why(streamed(prelude));
    }
    let without = upstream(200, &[], r#"{"statusCode":200,"body":"x"}"#);
    let reply = answered(PayloadVersion::V1, InvokeMode::ResponseStream, without).unwrap();
    assert_eq!(text(&reply), "x");
    assert_eq!(values(&reply, "content-type"), ["application/json"], "as if it were not behind a stream");
}

#[test]
fn x5_what_is_beyond_the_limits_is_refused_unless_the_answer_is_none() {
    let many: String = (0..300).map(|number| format!(r#","x{number}":"\n""#)).collect();
    for member in [
        format!(r#""headers":{{"a":""{}}}"#, many.replace("\\n", "")),
        format!(r#""headers":{{"a":"{}"}}"#, "\\u0061".repeat((64 << 10) + 1)),
        format!(r#""headers":{{"{}":"","a":"1"}}"#, "\\u0061".repeat((64 << 10) - 1)),
        format!(r#""cookies":[{}""]"#, r#""","#.repeat(200)),
        format!(r#""multiValueHeaders":{{"a":[{}1]}}"#, "null,".repeat(200)),
    ] {
        let cause = bad(&format!(r#"{{"statusCode":200,{member}}}"#));
        assert_eq!(cause, "headers and cookies are more than 200 lines or 65536 bytes");
        let inferred = called(PayloadVersion::V2, &format!("{{{member}}}")).unwrap();
        assert_eq!(text(&inferred), format!("{{{member}}}"));
    }
    let name = "\\u0061".repeat(1 << 16);
    let cause = bad(&format!(r#"{{"statusCode":200,"headers":{{"{name}":""}}}}"#));
    assert_eq!(cause, format!("headers: `{}…` is not a valid header name", "a".repeat(100)));
}

#[test]
fn headers_and_cookies_have_their_limits_together() {
    let answer = |headers: usize, cookies: usize, value: &str| {
        let many: Vec<&str> = vec![value; headers];
        let cookies = vec!["c"; cookies];
        serde_json::json!({ "statusCode": 200, "multiValueHeaders": { "x": many }, "cookies": cookies })
            .to_string()
    };
    assert_eq!(values(&good(&answer(150, 50, "")), "x").len(), 150);
    assert_eq!(values(&good(&answer(1, 0, &"v".repeat((64 << 10) - 1))), "x").len(), 1);
    for output in
        [answer(150, 51, ""), answer(1, 0, &"v".repeat(64 << 10)), answer(2, 0, &"v".repeat(32 << 10))]
    {
        assert_eq!(bad(&output), "headers and cookies are more than 200 lines or 65536 bytes");
        assert!(why(streamed(&output)).starts_with("headers and cookies"));
    }
}

/// Texts that are often nearly an answer.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        (0..700_u16).prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        "[A-Za-z0-9+/]{0,8}={0,2}".prop_map(|text| format!("\"{text}\"")),
        ("[!-~]{0,6}", any::<String>())
            .prop_map(|(name, text)| serde_json::json!({ name: text }).to_string()),
        ("[a-z]{1,6}", any::<Vec<Option<String>>>())
            .prop_map(|(name, texts)| serde_json::json!({ name: texts }).to_string()),
        any::<Vec<String>>().prop_map(|texts| serde_json::json!(texts).to_string()),
    ];
    let name = prop_oneof![
        Just("statusCode"),
        Just("headers"),
        Just("multiValueHeaders"),
        Just("cookies"),
        Just("body"),
        Just("isBase64Encoded"),
        Just("other"),
    ];
    let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    let object = proptest::collection::vec(member, 0..6);
    let object = object.prop_map(|members| format!("{{{}}}", members.join(",")));
    prop_oneof![
        1 => any::<Vec<u8>>(),
        4 => object.clone().prop_map(String::into_bytes),
        1 => (object, any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(text, index, byte)| {
            let mut bytes = text.into_bytes();
            let index = index.index(bytes.len());
            bytes[index] = byte;
            bytes
        }),
        2 => (200..600_u16, "[a-z-]{1,6}", any::<String>()).prop_map(|(status, name, text)| {
            serde_json::json!({ "statusCode": status, "headers": { name: "1" }, "body": text })
                .to_string()
                .into_bytes()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_of_a_function_give_an_answer_or_a_502(output in output(), fails in any::<bool>()) {
        let output = Bytes::from(output);
        for version in BOTH {
            for prelude in [None, Some(output.clone())] {
                let invoke_mode =
                    if prelude.is_some() { InvokeMode::ResponseStream } else { InvokeMode::Buffered };
                let mut sent = upstream(200, &API, "");
                if fails {
                    let name = HeaderName::from_static("x-amz-function-error");
                    sent.headers.insert(name, HeaderValue::from_static("Unhandled"));
                }
                sent.body = ReplyBody::Whole(output.clone());
                sent.prelude = prelude;
                match answered(version, invoke_mode, sent) {
                    Ok(reply) => {
                        prop_assert!((200..600).contains(&reply.status.as_u16()) && !fails);
                        prop_assert!(!reply.headers.contains_key("content-length"));
                    }
                    Err(error) => {
                        let kind = if fails {
                            ErrorKind::FunctionFailed
                        } else {
                            ErrorKind::FunctionResponseInvalid
                        };
                        prop_assert_eq!(&error.kind, &kind);
                        prop_assert!(error.to_string().chars().count() < 800);
                    }
                }
            }
        }
    }

    #[test]
    fn a_body_arrives_as_the_function_wrote_it(body in any::<String>(), base64 in any::<bool>()) {
        use base64::Engine as _;

        let written = if base64 {
            base64::engine::general_purpose::STANDARD.encode(&body)
        } else {
            body.clone()
        };
        let output = serde_json::json!({ "statusCode": 200, "body": written, "isBase64Encoded": base64 });
        let reply = good(&output.to_string());
        prop_assert_eq!(text(&reply), body);
    }
}
