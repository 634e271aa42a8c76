//! Responses of upstreams. `{case-number}` is replaced by a number of the same length.

use super::Seed;

const BODY: &str = "body of {case-number}\n";

fn sized(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn chunked(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

pub fn all() -> Vec<Seed> {
    let mut seeds = broken();
    seeds.extend(whole());
    seeds
}

fn broken() -> Vec<Seed> {
    let hundred = "Content-Length: 100\r\n";
    let many = "X-A: b\r\n".repeat(97);
    vec![
        Seed::new("c1_length_cut", format!("HTTP/1.1 200 OK\r\n{hundred}\r\nten bytes.")),
        Seed::new("c1_chunked_cut", chunked(&(chunk(BODY) + "64\r\nten bytes."))),
        Seed::new("c1_chunked_without_end", chunked(&chunk(BODY))),
        Seed::new("c1_malformed_first_chunk", chunked("zz\r\nten bytes.\r\n0\r\n\r\n")),
        Seed::new("c1_malformed_later_chunk", chunked(&(chunk(BODY) + "zz\r\n"))),
        Seed::new("c1_head_cut", "HTTP/1.1 200 OK\r\nContent-Le"),
        Seed::new("c1_nothing", ""),
        Seed::new(
            "c1_large_cut",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(50_000)),
        ),
        Seed::new("e10_many_headers", sized("200 OK", &many, BODY)),
        Seed::new("e10_long_header", sized("200 OK", &format!("X-A: {}\r\n", "b".repeat(66_000)), BODY)),
        Seed::new("x15_trailer_lf", chunked(&(chunk(BODY) + "0\r\nX-T: v\n\r\n"))),
        Seed::new("x15_trailer_without_colon", chunked(&(chunk(BODY) + "0\r\nno colon\r\n\r\n"))),
        Seed::new("two_lengths", format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{hundred}\r\nhello")),
        Seed::new(
            "length_and_chunked",
            format!("HTTP/1.1 200 OK\r\n{hundred}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(BODY)),
        ),
        Seed::new("switching", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        Seed::new("no_http", "SSH-2.0-OpenSSH_9.2\r\n"),
        Seed::new("tls_alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        Seed::new("huge_length", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello"),
        Seed::new("endless_chunk", chunked("ffffffffffffffff\r\nhello")),
        Seed::new("reason_with_control", "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
    ]
}

fn whole() -> Vec<Seed> {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    vec![
        Seed::new("plain", sized("200 OK", "", BODY)),
        Seed::new("empty", sized("200 OK", "", "")),
        Seed::new("created_closing", sized("201 Created", "Connection: close\r\n", BODY)),
        Seed::new("not_found", sized("404 Not Found", "", BODY)),
        Seed::new(
            "refused",
            sized("403 Forbidden", "x-amzn-ErrorType: ForbiddenException\r\n", "{\"message\":\"Forbidden\"}"),
        ),
        Seed::new("throttled", sized("429 Too Many Requests", "Retry-After: 0\r\n", BODY)),
        Seed::new("unavailable", sized("503 Service Unavailable", "", BODY)),
        Seed::new("c12_status_599", sized("599 ", "", BODY)),
        Seed::new("chunked", chunked(&(chunk(BODY) + &chunk("more\r\n") + "0\r\n\r\n"))),
        Seed::new(
            "chunked_extended",
            chunked(&format!("{:x};a=\"b\"\r\n{BODY}\r\n0;c\r\nX-T: v\r\n\r\n", BODY.len())),
        ),
        Seed::new("until_close", format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{BODY}")),
        Seed::new("old_version", format!("HTTP/1.0 200 OK\r\n\r\n{BODY}")),
        Seed::new(
            "old_version_sized",
            format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len()),
        ),
        Seed::new("interim", interim.to_owned() + &sized("200 OK", "", BODY)),
        Seed::new("no_content", "HTTP/1.1 204 No Content\r\n\r\n"),
        Seed::new("not_modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n"),
        Seed::new("reset_content", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        Seed::new("redirect", sized("302 Found", "Location: /elsewhere\r\n", "")),
        Seed::new("surplus", sized("200 OK", "", BODY) + surplus),
        Seed::new("c6_length_alone", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        Seed::new("cookies", sized("200 OK", "Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-Empty:\r\n", BODY)),
        Seed::new(
            "nominated",
            sized(
                "200 OK",
                "Connection: x-hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n",
                BODY,
            ),
        ),
        Seed::new("large", sized("200 OK", "", &format!("{BODY}{}", "x".repeat(100_000)))),
        Seed::new(
            "large_chunked",
            chunked(&(chunk(BODY).repeat(20) + &chunk(&"y".repeat(40_000)) + "0\r\n\r\n")),
        ),
        Seed::new("many_chunks", chunked(&("1\r\na\r\n".repeat(900) + "0\r\n\r\n"))),
    ]
}
