//! A function whose runtime is scripted by its environment. Its command is this test binary, with the one
//! test below, which does nothing in a usual run.

use std::{
    env,
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::support::{Response, read_response};

/// The variable with the script.
const SCRIPT: &str = "SCRIPTED_RUNTIME";
const PREFIX: &str = "/2018-06-01/runtime";

/// The command of a function with a scripted runtime, for YAML.
pub fn command() -> String {
    let program = env::current_exe().unwrap();
    format!("[{}, local_functions::scripted::runtime, --exact, --nocapture]", program.display())
}

/// An item of `functions.yaml` for a function that follows the script, with further lines.
pub fn item(name: &str, script: &str, further: &str) -> String {
    format!("- name: {name}\n  command: {}\n  environment: {{ {SCRIPT}: {script} }}\n{further}", command())
}

/// A connection to the Runtime API.
struct Api(SocketAddr);

impl Api {
    fn send(&self, head: &str, body: &[u8]) -> Response {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        read_response(&mut BufReader::new(stream), false).unwrap()
    }

    fn next(&self) -> Response {
        self.send(&format!("GET {PREFIX}/invocation/next HTTP/1.1\r\nHost: {}\r\n\r\n", self.0), b"")
    }

    fn post(&self, path: &str, body: &[u8]) -> Response {
        let length = body.len();
        let kind = "Lambda-Runtime-Function-Error-Type: Runtime.Scripted";
        self.send(
            &format!(
                "POST {PREFIX}/{path} HTTP/1.1\r\nHost: a\r\n{kind}\r\nContent-Length: {length}\r\n\r\n"
            ),
            body,
        )
    }

    /// A streamed response in two chunks, with `end` after them.
    fn stream(&self, id: &str, content_type: &str, chunks: &[&[u8]], end: &str) {
        let mut stream = TcpStream::connect(self.0).unwrap();
        let head = format!(
            "POST {PREFIX}/invocation/{id}/response HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
             Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        for chunk in chunks {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
            stream.write_all(&[chunk, b"\r\n".as_slice()].concat()).unwrap();
        }
        stream.write_all(end.as_bytes()).unwrap();
        if end.is_empty() {
            // the function dies in the middle
            std::process::exit(7);
        }
        assert_eq!(read_response(&mut BufReader::new(stream), false).unwrap().status, 202);
    }
}

/// The runtime, if the environment has a script.
#[test]
fn runtime() {
    let Ok(script) = env::var(SCRIPT) else { return };
    let api = Api(env::var("AWS_LAMBDA_RUNTIME_API").unwrap().parse().unwrap());
    print(&format!("the script is {script}"));
    match &*script {
        "ends-at-once" => std::process::exit(3),
        "never-asks" => thread::sleep(Duration::from_mins(10)),
        "fails-to-start" => {
            api.post("init/error", br#"{"errorType":"Init","errorMessage":"no table"}"#);
            std::process::exit(1);
        }
        _ => {}
    }
    loop {
        let next = api.next();
        let id = next.header("Lambda-Runtime-Aws-Request-Id").unwrap().to_owned();
        let call = Call { api: &api, id: &id, next: &next };
        match &*script {
            "echo" | "headers" | "reflects" | "answers-too-much" | "prints" => call.answers(&script),
            "answers-twice" | "answers-another" => call.answers_wrongly(&script),
            "streams" | "streams-no-body" | "fails-in-a-stream" | "dies-in-a-stream" => call.streams(&script),
            _ => call.ends(&script),
        }
    }
}

/// Prints a line for the log of `dev`.
#[expect(clippy::print_stdout, reason = "the output of a function")]
fn print(line: &str) {
    println!("{line}");
}

/// One event.
struct Call<'a> {
    api: &'a Api,
    id: &'a str,
    next: &'a Response,
}

impl Call<'_> {
    fn respond(&self, body: &[u8]) -> u16 {
        self.api.post(&format!("invocation/{}/response", self.id), body).status
    }

    fn answers(&self, script: &str) {
        let body = match script {
            "echo" => self.next.body.clone(),
            "reflects" => {
                let event = String::from_utf8_lossy(&self.next.body).into_owned();
                let answer = json!({ "statusCode": 201, "headers": { "x-own": "yes" }, "body": event });
                answer.to_string().into_bytes()
            }
            "answers-too-much" => {
                let status = self.respond(format!("\"{}\"", "x".repeat(6_291_556)).as_bytes());
                return print(&format!("the large answer got {status}"));
            }
            "prints" => {
                let line = "x".repeat(1023);
                (0..4096).for_each(|_| print(&line));
                b"\"printed\"".to_vec()
            }
            _ => {
                let headers = self.next.headers.iter();
                let headers: Map<String, Value> =
                    headers.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
                let variables = env::vars().filter(|(name, _)| name.starts_with("AWS_"));
                let variables: Map<String, Value> =
                    variables.map(|(name, value)| (name, value.into())).collect();
                json!({ "headers": headers, "variables": variables }).to_string().into_bytes()
            }
        };
        assert_eq!(self.respond(&body), 202);
    }

    fn answers_wrongly(&self, script: &str) {
        if script == "answers-twice" {
            assert_eq!(self.respond(b"1"), 202);
            let second = self.api.post(&format!("invocation/{}/response", self.id), b"2");
            return print(&format!("the second answer got {} {}", second.status, second.text()));
        }
        let other = self.api.post("invocation/another-id/response", b"1");
        print(&format!("another id got {} {}", other.status, other.text()));
        assert_eq!(self.respond(b"\"mine\""), 202);
    }

    fn streams(&self, script: &str) {
        let bytes = "application/octet-stream";
        match script {
            "streams" => {
                let prelude = br#"{"statusCode":201,"headers":{"x-own":"yes"}}"#;
                let prelude = [prelude.as_slice(), &[0; 8]].concat();
                let kind = "application/vnd.awslambda.http-integration-response";
                self.api.stream(self.id, kind, &[&prelude, b"one ", b"two"], "0\r\n\r\n");
            }
            "streams-no-body" => {
                let kind = "application/vnd.awslambda.http-integration-response";
                let chunk = vec![b' '; 1 << 20];
                let chunks = vec![&*chunk; 8];
                self.api.stream(self.id, kind, &chunks, "0\r\n\r\n");
            }
            "fails-in-a-stream" => self.api.stream(
                self.id,
                bytes,
                &[b"one "],
                "0\r\nLambda-Runtime-Function-Error-Type: Broken\r\n\
                 Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJCcm9rZW4ifQ==\r\n\r\n",
            ),
            _ => self.api.stream(self.id, bytes, &[b"one "], ""),
        }
    }

    #[expect(clippy::zombie_processes, reason = "the process must outlive the answer")]
    fn ends(&self, script: &str) {
        match script {
            "fails" => {
                let error = br#"{"errorType":"Sorry","errorMessage":"not today","stackTrace":[]}"#;
                assert_eq!(self.api.post(&format!("invocation/{}/error", self.id), error).status, 202);
            }
            "fails-with-markup" => {
                let error = br#"{"errorType":"<script>alert(1)</script>","errorMessage":"<b>"}"#;
                assert_eq!(self.api.post(&format!("invocation/{}/error", self.id), error).status, 202);
            }
            "exits-after-its-answer" => {
                assert_eq!(self.respond(&self.next.body), 202);
                std::process::exit(0);
            }
            "exits" => std::process::exit(5),
            "sleeps" => thread::sleep(Duration::from_mins(10)),
            "forks" => {
                // the first becomes an orphan
                let script = "sh -c 'setsid sleep 600 & exit'; trap '' TERM HUP INT; \
                    setsid sh -c 'sleep 600 & sleep 600' & sleep 600";
                let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
                self.respond(child.id().to_string().as_bytes());
            }
            other => panic!("unknown script {other}"),
        }
    }
}
