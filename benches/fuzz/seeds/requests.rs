//! Raw bytes of HTTP/1.1 clients.

use super::Seed;

const GET: &str = "GET /next HTTP/1.1\r\nHost: h\r\nX-Fuzz: next\r\n\r\n";

fn post(target: &str, headers: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}")
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

pub fn all() -> Vec<Seed> {
    let mut seeds = connections();
    seeds.extend(bodies());
    seeds.extend(targets_and_headers());
    seeds
}

fn connections() -> Vec<Seed> {
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    vec![
        Seed::new("plain_get", get("/a", "")),
        Seed::new("pipelined", get("/a", "X-Fuzz: 1\r\n") + &get("/b?c=d", "X-Fuzz: 2\r\n") + GET),
        Seed::new("plain_head", format!("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n{GET}")),
        Seed::new("old_version", "GET /a HTTP/1.0\r\n\r\n"),
        Seed::new("old_version_kept", format!("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{GET}")),
        Seed::new("closes", get("/a", "Connection: close\r\n") + GET),
        Seed::new("c3_upgrade_h2c", get("/a", upgrade) + GET),
        Seed::new(
            "c3_upgrade_h2c_post",
            post("/a", &format!("{upgrade}Content-Length: 5\r\n"), "hello") + GET,
        ),
        Seed::new("x1_upgrade_with_body", post("/a", "Upgrade: websocket\r\nContent-Length: 5\r\n", "hello")),
        Seed::new(
            "x1_upgrade_with_body_signed",
            post("/signed/a", &format!("{websocket}Content-Length: 5\r\n"), "hello") + GET,
        ),
        Seed::new(
            "x1_upgrade_chunked",
            post("/a", &format!("{websocket}Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n")
                + GET,
        ),
        Seed::new("x2_connect_then_get", format!("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n{GET}")),
        Seed::new(
            "x2_connect_with_length",
            format!("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nContent-Length: 5\r\n\r\nhello{GET}"),
        ),
        Seed::new("x2_upgrade_then_get", get("/a", websocket) + GET),
        Seed::new("x2_not_allowed_then_get", format!("CONNECT /post/a HTTP/1.1\r\nHost: h\r\n\r\n{GET}")),
        Seed::new("not_found", get("/hosts/a", "") + GET),
        Seed::new("not_allowed", get("/post/a", "") + GET),
        Seed::new(
            "not_allowed_with_body",
            "PUT /post/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello".to_owned() + GET,
        ),
        Seed::new("c11_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        Seed::new("preface_late", format!("{GET}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
        Seed::new("tls_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ]
}

fn bodies() -> Vec<Seed> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let long = "x".repeat(9000);
    vec![
        Seed::new("plain_post", post("/a", "Content-Length: 5\r\n", "hello") + GET),
        Seed::new("large_post", post("/signed/a", "Content-Length: 9000\r\n", &long) + GET),
        Seed::new("largest_direct", post("/a", "Content-Length: 70000\r\n", &"y".repeat(70_000)) + GET),
        Seed::new("plain_chunked", post("/a", chunked, "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n") + GET),
        Seed::new("chunked_signed", post("/signed/a", chunked, "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n") + GET),
        Seed::new("hidden_request", post("/a", &format!("Content-Length: {}\r\n", GET.len()), GET) + GET),
        Seed::new(
            "hidden_in_chunk",
            post("/a", chunked, &format!("{:x}\r\n{GET}\r\n0\r\n\r\n", GET.len())) + GET,
        ),
        Seed::new(
            "length_and_chunked",
            post("/a", &format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n") + GET,
        ),
        Seed::new("two_lengths", post("/a", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!") + GET),
        Seed::new("c2_expect", post("/a", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello") + GET),
        Seed::new(
            "c2_expect_chunked",
            post("/a", &format!("Expect: 100-continue\r\n{chunked}"), "5\r\nhello\r\n0\r\n\r\n") + GET,
        ),
        Seed::new(
            "x15_expect_unknown",
            post("/a", "Expect: 100-continue, x\r\nContent-Length: 5\r\n", "hello") + GET,
        ),
        Seed::new("c7_early_answer", post("/hosts/a", "Content-Length: 9000\r\n", &long) + GET),
        Seed::new(
            "c8_extension",
            post("/a", chunked, &format!("5;{long}{long}{long}\r\nhello\r\n0\r\n\r\n")) + GET,
        ),
        Seed::new(
            "c8_small_chunks",
            post(
                "/a",
                chunked,
                &("1;x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\na\r\n".repeat(500) + "0\r\n\r\n"),
            ) + GET,
        ),
        Seed::new("x15_trailer_lf", post("/a", chunked, "5\r\nhello\r\n0\r\nX-T: v\n\r\n") + GET),
        Seed::new("x15_trailer_nul", post("/a", chunked, "5\r\nhello\r\n0\r\nX-T: \0\r\n\r\n") + GET),
        Seed::new(
            "x15_trailer_without_colon",
            post("/a", chunked, "5\r\nhello\r\n0\r\nno colon\r\n\r\n") + GET,
        ),
        Seed::new("chunk_lf", post("/a", chunked, "5\nhello\n0\n\n") + GET),
        Seed::new("chunk_too_large", post("/a", chunked, "fffffffffffffffff\r\nhello\r\n0\r\n\r\n") + GET),
        Seed::new("get_with_body", get("/a", "Content-Length: 5\r\n") + "hello" + GET),
        Seed::new("incomplete_body", post("/a", "Content-Length: 50\r\n", "hello")),
        Seed::new(
            "s2_boundary",
            post(
                "/signed/a",
                "Content-Type: multipart/form-data; boundary=\"a  b\"\r\nContent-Length: 5\r\n",
                "hello",
            ) + GET,
        ),
    ]
}

fn targets_and_headers() -> Vec<Seed> {
    vec![
        Seed::new("s1_dots_at_the_end", get("/signed/a/b/..", "") + &get("/signed/a/.", "")),
        Seed::new("s11_backslashes", get("/signed/a%5C..%5Cb", "") + &get("/a%5c..%5cb", "")),
        Seed::new("x9_unescaped", get("/a\"<>`#b?q=\"<>`#", "") + GET),
        Seed::new("x9_unescaped_signed", get("/signed/a\"<>`#b?q=\"<>`#", "") + GET),
        Seed::new("x10_nul_in_value", get("/a", "X-A: a\0b\r\n") + GET),
        Seed::new("x11_pass", get("/pass/a", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n") + GET),
        Seed::new(
            "x11_pass_post",
            post("/pass/a", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nContent-Length: 5\r\n", "hello"),
        ),
        Seed::new("x15_user_in_target", "GET http://user:pw@h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + GET),
        Seed::new("absolute_target", "GET http://other/a?b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + GET),
        Seed::new("c4_host_escaped", "GET /a HTTP/1.1\r\nHost: tmp%2Fx.sock\r\n\r\n".to_owned() + GET),
        Seed::new("options_asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + GET),
        Seed::new("e1_escapes", get("/my-id%2F100/100%25/%2541/", "") + GET),
        Seed::new(
            "e4_repeated",
            get("/a?a=1&a=2&b", "X-Fuzz: 1\r\nX-Fuzz: 2\r\nCookie: a=1\r\nCookie: b=2\r\n") + GET,
        ),
        Seed::new("x5_many_keys", post(&format!("/a?{}", "a=1&".repeat(2000)), "Content-Length: 0\r\n", "")),
        Seed::new("many_headers", get("/a", &"X-A: b\r\n".repeat(90)) + GET),
        Seed::new("long_header", get("/a", &format!("X-A: {}\r\n", "b".repeat(30_000))) + GET),
        Seed::new(
            "nominated",
            get("/signed/a", "Connection: x-fuzz, authorization, x-amz-date, host\r\nX-Fuzz: 1\r\n") + GET,
        ),
        Seed::new(
            "forwarded",
            get("/a", "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nVia: 1.1 x\r\nForwarded: for=1\r\n") + GET,
        ),
        Seed::new(
            "c4_grpc",
            post(
                "/a",
                "Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 5\r\n",
                "\0\0\0\0\0",
            ) + GET,
        ),
        Seed::new(
            "trace_headers",
            get(
                "/a",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                 X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1\r\n",
            ) + GET,
        ),
        Seed::new("empty_lines_before", format!("\r\n\r\n{GET}")),
        Seed::new("folded", get("/a", "X-A: a\r\n b\r\n") + GET),
        Seed::new("leading_dots", get("/%2e%2e/a", "") + &get("/a/../../b", "") + &get("/signed/%2e./a", "")),
    ]
}
