//! Responses of functions over `Invoke`.

use super::Seed;

pub fn all() -> Vec<Seed> {
    let mut seeds = vec![
        Seed::new(
            "plain",
            r#"{"statusCode":200,"headers":{"Content-Type":"text/plain","X-A":"b"},"body":"hello"}"#,
        ),
        Seed::new(
            "plain_2_0",
            r#"{"statusCode":201,"headers":{"x-a":"b"},"cookies":["a=1","b=2"],"body":"hello"}"#,
        ),
        Seed::new("base64", r#"{"statusCode":200,"body":"aGVsbG8=","isBase64Encoded":true}"#),
        Seed::new("bare_string", r#""hello""#),
        Seed::new("bare_object", r#"{"a":1,"b":[true,null]}"#),
        Seed::new("empty_arrays", r#"{"a":[],"b":{"c":[]},"d":"[]"}"#),
        Seed::new("not_json", "<html>"),
        Seed::new("empty", ""),
        Seed::new("raised", r#"{"errorMessage":"boom","errorType":"Error","trace":["a"]}"#),
        Seed::new("no_content", r#"{"statusCode":204,"headers":{"X-A":"b"},"body":"hello"}"#),
        Seed::new("not_modified", r#"{"statusCode":304,"headers":{"ETag":"a"}}"#),
        Seed::new("switching", r#"{"statusCode":101,"headers":{"Upgrade":"websocket"},"body":""}"#),
        Seed::new(
            "hop_by_hop",
            concat!(
                r#"{"statusCode":200,"headers":{"Connection":"close, x-a","X-A":"1","#,
                r#""Transfer-Encoding":"chunked","Keep-Alive":"1","X-B":"2"},"body":"b"}"#,
            ),
        ),
        Seed::new("splitting", r#"{"statusCode":200,"headers":{"X-A":"b\r\nX-Evil: c"},"body":"b"}"#),
        Seed::new("splitting_name", r#"{"statusCode":200,"headers":{"X-A: b\r\nX-Evil":"c"},"body":"b"}"#),
        Seed::new("splitting_cookie", r#"{"statusCode":200,"cookies":["a=1\r\nX-Evil: c"],"body":"b"}"#),
        Seed::new(
            "not_strings",
            r#"{"statusCode":200,"headers":{"A":1,"B":true,"C":null,"D":1.5},"body":"b"}"#,
        ),
        Seed::new("twice", r#"{"statusCode":200,"statusCode":404,"body":"a","body":"b"}"#),
        Seed::new("surrogates", r#"{"statusCode":200,"body":"\ud83d\ude00 \u0000 \u00e9"}"#),
    ];
    seeds.extend(rows());
    seeds
}

fn rows() -> Vec<Seed> {
    let deep = format!(r#"{{"statusCode":200,"headers":{}{},"body":"x"}}"#, "[".repeat(120), "]".repeat(120));
    vec![
        Seed::new(
            "c6_length_for_head",
            r#"{"statusCode":200,"headers":{"Content-Length":"1234"},"body":""}"#,
        ),
        Seed::new("c12_status_599", r#"{"statusCode":599,"body":"x"}"#),
        Seed::new(
            "e2_cookies_in_both",
            concat!(
                r#"{"statusCode":200,"headers":{"Set-Cookie":"csrf=1"},"#,
                r#""multiValueHeaders":{"Set-Cookie":["s=1","t=2"]}}"#,
            ),
        ),
        Seed::new("e6_no_type", r#"{"statusCode":200,"body":"Hello"}"#),
        Seed::new("e7_null_flag", r#"{"statusCode":200,"body":"Hello","isBase64Encoded":null}"#),
        Seed::new("e8_raised", r#"{"errorMessage":"2024 Task timed out after 3.00 seconds"}"#),
        Seed::new("e9_body_is_object", r#"{"statusCode":200,"body":{"response":"yes"}}"#),
        Seed::new(
            "e10_many_lines",
            format!(r#"{{"statusCode":200,"cookies":[{}"z"]}}"#, "\"a=1\",".repeat(250)),
        ),
        Seed::new("x5_status_array", format!(r#"{{"statusCode":[{}0],"body":"x"}}"#, "0,".repeat(5000))),
        Seed::new(
            "x5_empty_cookies",
            format!(r#"{{"statusCode":200,"cookies":[{}""]}}"#, "\"\",".repeat(5000)),
        ),
        Seed::new(
            "x5_header_arrays",
            format!(r#"{{"statusCode":200,"headers":{{"a":[{}0]}}}}"#, "[],".repeat(5000)),
        ),
        Seed::new("x5_deep", deep),
        Seed::new("x15_quote_in_name", r#"{"statusCode":200,"headers":{"a\"b":"c"},"body":"x"}"#),
        Seed::new(
            "s2_quoted_type",
            r#"{"statusCode":200,"headers":{"Content-Type":"multipart/x; boundary=\"a  b\""},"body":"x"}"#,
        ),
    ]
}
