//! `dev --settings` with functions on this machine: the Runtime API, Lambda's errors, and the end of all
//! processes.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::support::{
    Response, call, eventually, get,
    process::{Process, binary, end_of, settings, signal_to, through},
};

mod rust_function;
mod scripted;

const API: &str = "x1.execute-api.eu-west-1.amazonaws.com";
const PROCESS: &str = "listen: { http: '127.0.0.1:0' }\nlog: { level: error }\n";

/// A running `dev` with routes and functions.
struct Dev {
    directory: TempDir,
    process: Process,
    address: SocketAddr,
}

/// A route that invokes a function.
fn lambda(name: &str, further: &str) -> (String, String) {
    let text = format!(
        "uri: /{name}\nlambda:\n  function_name: {name}\n  aws_region: eu-west-1\n  \
         aws_assume_role_arn: arn:aws:iam::123456789012:role/production\n{further}"
    );
    (name.to_owned(), text)
}

/// A route of an API that requires both proofs.
fn api(id: &str) -> (String, String) {
    let text = format!(
        "uri: /{id}/*\napi_gateway:\n  function_uri: https://{API}/prod/{id}\n  authorization:\n    \
         apikey: $file:///var/run/secrets/nowhere\n    iam: {{ aws_region: eu-west-1 }}\n"
    );
    (id.to_owned(), text)
}

fn directory(routes: &[(String, String)], functions: &str) -> TempDir {
    let routes: Vec<(&str, &str)> = routes.iter().map(|(name, text)| (&**name, &**text)).collect();
    let directory = settings(PROCESS, &routes);
    fs::write(directory.path().join("functions.yaml"), functions).unwrap();
    directory
}

fn dev_command(directory: &Path, further: &[&str]) -> Command {
    let mut command = binary(&["dev", "--stand-in", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--settings"]);
    command.arg(directory).args(further);
    // the admin address comes from the command line
    command.env_remove("APIGW_INVOKER__ADMIN__ADDRESS");
    command
}

impl Dev {
    #[track_caller]
    fn start(routes: &[(String, String)], functions: &str) -> Self {
        let directory = directory(routes, functions);
        // the tests may run below `nohup`
        let command = dev_command(directory.path(), &[]);
        let (process, address) = Process::listening(&mut through(&["env", "--default-signal=HUP"], &command));
        Self { directory, process, address }
    }

    /// One function with this script, invoked by a route of its name.
    #[track_caller]
    fn scripted(script: &str, further: &str) -> Self {
        Self::start(&[lambda("f", "")], &scripted::item("f", script, further))
    }

    fn invoke(&self, body: &str) -> Response {
        call(self.address, "POST", "/f", &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// Invokes the function, which must fail in this way.
    #[track_caller]
    fn fails(&self, kind: &str, message: &str) {
        let response = self.invoke("{}");
        assert_eq!(response.header("x-amz-function-error"), Some("Unhandled"), "{response:?}");
        let error = response.json();
        assert_eq!(error["errorType"], kind, "{error}");
        let found = error["errorMessage"].as_str().unwrap();
        assert!(found.ends_with(message), "{found}");
    }
}

/// The ids of the processes of functions in this directory, each test's own: their environment has it.
fn processes_in(directory: &Path) -> Vec<u32> {
    let variable = format!("LAMBDA_TASK_ROOT={}", directory.display());
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|own| own == variable.as_bytes())
    })
    .collect()
}

#[track_caller]
fn nothing_is_left_in(directory: &Path) {
    eventually("no process is left", || processes_in(directory).is_empty());
}

#[test]
fn an_event_reaches_the_function_with_lambdas_context() {
    let mut dev = Dev::scripted("headers", "  timeout: 30s\n");
    let before = std::time::SystemTime::now();
    let response = dev.invoke("{\"a\":1}").json();
    let header = |name: &str| response["headers"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        header("lambda-runtime-invoked-function-arn"),
        "arn:aws:lambda:eu-west-1:123456789012:function:f"
    );
    assert_eq!(header("content-type"), "application/json");
    assert!(header("lambda-runtime-trace-id").starts_with("Root=1-"), "{response}");
    let deadline: u128 = header("lambda-runtime-deadline-ms").parse().unwrap();
    let since = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!((since + 30_000..since + 60_000).contains(&deadline), "{deadline}");
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ] {
        assert_eq!(response["variables"][name], value, "{name}");
    }
    let log = dev.process.stop();
    for line in ["[f] cold start: ", "[f] the script is headers", "[f] START RequestId: ", "Init Duration: "]
    {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    nothing_is_left_in(dev.directory.path());
}

#[test]
fn a_second_event_finds_the_process_running() {
    let mut dev = Dev::scripted("echo", "");
    for body in ["{\"n\":1}", "{\"n\":2}"] {
        assert_eq!(dev.invoke(body).text(), body);
    }
    let log = dev.process.stop();
    assert_eq!(log.matches("cold start").count(), 1, "{log}");
}

#[test]
fn a_process_that_ended_after_its_answer_is_started_again() {
    let dev = Dev::scripted("exits-after-its-answer", "");
    for number in 0..5 {
        let body = format!("{{\"n\":{number}}}");
        assert_eq!(dev.invoke(&body).text(), body);
    }
}

#[test]
fn errors_have_lambdas_words() {
    let dev = Dev::scripted("fails", "");
    dev.fails("Sorry", "not today");
    let dev = Dev::scripted("exits", "");
    dev.fails("Runtime.ExitError", "Error: Runtime exited with error: exit status 5");
    let dev = Dev::scripted("ends-at-once", "");
    dev.fails("Runtime.ExitError", "Error: Runtime exited with error: exit status 3");
    let dev = Dev::scripted("fails-to-start", "");
    dev.fails("Init", "no table");
    dev.process.says("[f] the initialization failed: Init: no table");
    let functions = "- { name: f, command: ./no-such-program }\n";
    let dev = Dev::start(&[lambda("f", "")], functions);
    dev.fails("Runtime.InvalidEntrypoint", "Error: fork/exec ./no-such-program: no such file or directory");
    dev.process.says("[f] its command cannot be started: No such file or directory");
}

#[test]
fn the_request_id_of_an_apis_answer_leads_to_the_functions_lines_in_the_log() {
    let functions = "- { name: g, command: ./no-such-program }\n";
    let mut dev = Dev::start(&[api("g")], functions);
    let response = get(dev.address, "/g/x");
    assert_eq!(response.status, 502);
    let id = response.header("x-amzn-requestid").unwrap();
    dev.process.says(&format!(
        "[g] its command cannot be started: No such file or directory (os error 2) during the request {id}"
    ));
    dev.process.stop();
}

#[test]
fn a_function_that_takes_too_long_is_killed() {
    let mut dev = Dev::scripted("sleeps", "  timeout: 500ms\n");
    let started = Instant::now();
    dev.fails("Sandbox.Timedout", "Error: Task timed out after 0.50 seconds");
    assert!(started.elapsed() < Duration::from_secs(10));
    nothing_is_left_in(dev.directory.path());
    let log = dev.process.stop();
    assert!(log.contains("[f] did not end within its timeout of 500ms and was killed"), "{log}");
}

#[test]
fn a_function_that_never_asks_for_an_event_is_killed() {
    let mut dev = Dev::scripted("never-asks", "  timeout: 1m\n");
    let started = Instant::now();
    dev.fails("Sandbox.Timedout", "Error: Task timed out after 10.00 seconds");
    assert!((10..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    nothing_is_left_in(dev.directory.path());
    let log = dev.process.stop();
    assert!(log.contains("[f] asked for no event within 10s"), "{log}");
}

#[test]
fn markup_in_a_request_and_an_error_stays_text() {
    let dev = Dev::start(
        &[lambda("f", "  is_proxy_integration: true\n"), api("g")],
        &scripted::item("f", "fails-with-markup", "  routes: [g]\n"),
    );
    let admin = dev.process.admin();
    let markup = "<script>alert(1)</script>";
    let body = format!("{{\"a\":\"{markup}\"}}");
    for target in ["/f?x=<b>", "/g/%3Cimg%20src=x%3E?x=<svg/onload=alert(1)>"] {
        let headers = [("X-Note", markup), ("Content-Type", "application/json")];
        let response = call(dev.address, "POST", target, &headers, body.as_bytes());
        assert_eq!(response.status, 502, "{response:?}");
        assert!(!response.text().contains('<'), "{response:?}");
    }
    let shown = || call(admin, "GET", "/inspect/2", &[("Accept", "application/json")], b"");
    eventually("both are recorded", || shown().status == 200);
    for target in ["/", "/inspect", "/inspect/1", "/inspect/2"] {
        let page = |kind: &str| call(admin, "GET", target, &[("Accept", kind)], b"");
        let html = page("text/html");
        assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
        assert!(!html.text().contains("alert(1)"), "{target}");
        for kind in ["application/json", "*/*"] {
            let data = page(kind);
            assert_eq!(data.header("x-content-type-options"), Some("nosniff"), "{target} {kind}");
            let is_html = data.header("content-type").unwrap().starts_with("text/html");
            assert!(!is_html || !data.text().contains("alert(1)"), "{target} {kind}");
        }
    }
    let shown = shown().json();
    assert_eq!(shown["client"]["body"]["text"], body, "{shown}");
    dev.process.says(&format!("{markup}: <b>"));
}

#[test]
fn a_second_answer_and_anothers_id_are_refused() {
    let dev = Dev::scripted("answers-twice", "");
    assert_eq!(dev.invoke("{}").text(), "1");
    dev.process.says("the second answer got 403 {\"errorType\":\"InvalidStateTransition\"");
    assert_eq!(dev.invoke("{}").text(), "1");
    let dev = Dev::scripted("answers-another", "");
    assert_eq!(dev.invoke("{}").text(), "\"mine\"");
    dev.process.says(
        "another id got 400 {\"errorType\":\"InvalidRequestID\",\"errorMessage\":\"Invalid request ID\"}",
    );
}

#[test]
fn a_function_that_prints_megabytes_gets_its_answer_through() {
    let mut dev = Dev::scripted("prints", "  timeout: 15s\n");
    assert_eq!(dev.invoke("{}").text(), "\"printed\"");
    dev.process.stop();
    nothing_is_left_in(dev.directory.path());
}

#[test]
fn an_answer_over_the_limit_is_lambdas_error() {
    let dev = Dev::scripted("answers-too-much", "  timeout: 15s\n");
    dev.fails(
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    );
    dev.process.says("[f] the large answer got 413");
}

#[test]
fn all_processes_end_with_dev_even_after_sigkill() {
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        let mut dev = Dev::scripted("forks", "");
        let child: u32 = dev.invoke("{}").text().parse().unwrap();
        eventually("the child has children of its own", || processes_in(dev.directory.path()).len() >= 7);
        let processes = processes_in(dev.directory.path());
        assert!(processes.contains(&child));
        // `pkill -9 apigw-invoker` must not match a supervisor
        let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        assert_eq!(processes.iter().filter(|pid| name(pid) == "supervisor\n").count(), 1);
        dev.process.signal(signal);
        dev.process.wait();
        nothing_is_left_in(dev.directory.path());
    }
}

#[test]
fn a_function_ends_with_its_supervisor_even_after_sigkill() {
    let mut dev = Dev::scripted("echo", "");
    assert_eq!(dev.invoke("1").text(), "1");
    let processes = processes_in(dev.directory.path());
    assert_eq!(processes.len(), 2);
    signal_to(supervisor(&processes), "KILL");
    dev.process.says("[f] its process was ended by signal 9");
    nothing_is_left_in(dev.directory.path());
    assert_eq!(dev.invoke("2").text(), "2");
    dev.process.stop();
}

#[test]
fn the_end_of_a_killed_supervisor_is_noticed_while_the_functions_children_go_on() {
    let mut dev = Dev::scripted("forks", "");
    dev.invoke("{}");
    let processes = processes_in(dev.directory.path());
    signal_to(supervisor(&processes), "KILL");
    dev.process.says("[f] its process was ended by signal 9");
    for pid in processes_in(dev.directory.path()) {
        signal_to(pid, "KILL");
    }
    nothing_is_left_in(dev.directory.path());
    dev.process.stop();
}

fn supervisor(processes: &[u32]) -> u32 {
    let is_supervisor =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default() == "supervisor\n";
    processes.iter().copied().find(is_supervisor).unwrap()
}

#[test]
fn dev_that_was_started_with_nohup_ignores_a_hangup() {
    let directory = directory(&[lambda("f", "")], &scripted::item("f", "echo", ""));
    let mut command = through(&["nohup"], &dev_command(directory.path(), &[]));
    let (mut process, address) = Process::listening(&mut command);
    process.signal("HUP");
    assert_eq!(get(address, "/f").status, 200);
    process.stop();
}

#[test]
fn a_prelude_without_end_is_a_malformed_response() {
    let mut dev = Dev::start(&[api("g")], &scripted::item("f", "streams-no-body", "  routes: [g]\n"));
    assert_eq!(get(dev.address, "/g/x").status, 502);
    dev.process.says("[f] the prelude (status and headers) exceeds 6291556 bytes");
    dev.process.stop();
}

#[test]
fn streams_arrive_with_status_and_headers() {
    let stream =
        "  invoke_mode: response_stream\n  is_proxy_integration: true\n  awsgateway_compatible: true\n";
    let mut dev =
        Dev::start(&[lambda("f", stream), api("g")], &scripted::item("f", "streams", "  routes: [g]\n"));
    for target in ["/f", "/g/x"] {
        let response = get(dev.address, target);
        assert_eq!((response.status, response.text()), (201, "one two".to_owned()), "{target}");
        assert_eq!(response.header("x-own"), Some("yes"), "{target}");
    }
    dev.process.stop();
}

#[test]
fn a_stream_that_fails_is_never_passed_on_as_whole() {
    for (script, logged) in
        [("fails-in-a-stream", "Broken"), ("dies-in-a-stream", "[f] its process exited with code 7")]
    {
        let route = lambda("f", "  invoke_mode: response_stream\n");
        let mut dev = Dev::start(&[route, api("g")], &scripted::item("f", script, "  routes: [g]\n"));
        for target in ["/f", "/g/x"] {
            let mut stream = super::support::open(dev.address);
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            let response = super::support::read_response(&mut std::io::BufReader::new(stream), false);
            // without a byte of the body so far, the API's route may still answer 502
            let is_502 = response.as_ref().is_ok_and(|response| response.status == 502);
            assert!(response.is_err() || is_502 && target == "/g/x", "{script} {target}: {response:?}");
        }
        dev.process.says(logged);
        dev.process.stop();
    }
}

#[test]
fn an_event_is_retried_twice_with_its_request_id() {
    let dev = Dev::start(&[lambda("f", "  invocation_type: Event\n")], &scripted::item("f", "fails", ""));
    let response = dev.invoke("{}");
    assert_eq!(response.status, 202);
    let id = response.header("x-amzn-requestid").unwrap().to_owned();
    dev.process.says(&format!("[f] the event {id} failed three times and is dropped: Sorry: not today"));
    let log = dev.process.errors();
    assert_eq!(log.matches(&format!("[f] START RequestId: {id} Version")).count(), 3, "{log}");
    for pause in ["1s", "2s"] {
        assert!(log.contains(&format!("[f] the event {id} failed and is retried in {pause}")), "{log}");
    }
}

#[test]
fn an_api_gives_the_event_of_api_gateway() {
    let url = "uri: /u/*\napi_gateway:\n  function_uri: https://u1.lambda-url.eu-west-1.on.aws\n  \
        authorization: { iam: { aws_region: eu-west-1, service: lambda } }\n";
    let dev = Dev::start(
        &[api("g"), ("u".to_owned(), url.to_owned())],
        &scripted::item("g", "reflects", "  routes: [u]\n"),
    );
    let post = |target: &str| call(dev.address, "POST", target, &[("Content-Type", "text/plain")], b"hi");
    let response = post("/g/a%20b?x=1&x=2");
    assert_eq!((response.status, response.header("x-own")), (201, Some("yes")));
    let event = response.json();
    let context = &event["requestContext"];
    for (found, expected) in [
        (&event["version"], "1.0"),
        (&event["resource"], "/{proxy+}"),
        (&event["path"], "/g/a%20b"),
        (&event["httpMethod"], "POST"),
        (&event["pathParameters"]["proxy"], "g/a%20b"),
        (&event["queryStringParameters"]["x"], "2"),
        (&event["headers"]["Host"], API),
        (&event["headers"]["X-Forwarded-Proto"], "https"),
        (&event["body"], "hi"),
        (&context["stage"], "prod"),
        (&context["path"], "/prod/g/a%20b"),
        (&context["apiId"], "x1"),
        (&context["requestId"], response.header("x-amzn-requestid").unwrap()),
        (&context["identity"]["accessKey"], "AKIDEXAMPLE"),
        (&context["identity"]["apiKey"], "an-api-key-of-at-least-20-characters"),
    ] {
        assert_eq!(found, expected, "{event}");
    }
    assert!(event["headers"].get("authorization").is_none(), "{event}");
    let event = post("/u/a%20b?x=1").json();
    for (found, expected) in [
        (&event["version"], "2.0"),
        (&event["rawPath"], "/a%20b"),
        (&event["rawQueryString"], "x=1"),
        (&event["requestContext"]["stage"], "$default"),
        (&event["requestContext"]["authorizer"]["iam"]["accessKey"], "AKIDEXAMPLE"),
    ] {
        assert_eq!(found, expected, "{event}");
    }
}

#[test]
fn a_malformed_answer_is_an_error_of_the_api() {
    let dev = Dev::start(&[api("g")], &scripted::item("g", "echo", ""));
    let response = get(dev.address, "/g/x");
    assert_eq!((response.status, response.json()["message"].as_str()), (502, Some("Internal server error")));
    dev.process.says("[g] Malformed Lambda proxy response: statusCode is missing");
}

#[test]
fn edited_functions_and_routes_are_followed() {
    let process = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\n";
    let directory = directory(&[lambda("f", "")], &scripted::item("f", "fails", ""));
    fs::write(directory.path().join("default.yaml"), process).unwrap();
    let (dev, address) = Process::listening(&mut dev_command(directory.path(), &[]));
    let invoke =
        |target: &str| call(address, "POST", target, &[("Content-Type", "application/json")], b"{\"a\":1}");
    assert_eq!(invoke("/f").header("x-amz-function-error"), Some("Unhandled"));
    fs::write(directory.path().join("functions.yaml"), scripted::item("f", "echo", "")).unwrap();
    eventually("the new function", || invoke("/f").text() == "{\"a\":1}");
    let (_, text) = lambda("f", "");
    fs::write(directory.path().join("routes/f.yaml"), text.replace("/f", "/other")).unwrap();
    eventually("the new path", || invoke("/other").text() == "{\"a\":1}");
    fs::write(directory.path().join("functions.yaml"), "- { name: f }\n").unwrap();
    dev.says("functions.yaml:1: command: missing; expected a program with its arguments");
    assert_eq!(invoke("/other").text(), "{\"a\":1}", "the old functions stay");
}

#[test]
fn a_change_of_its_files_starts_the_function_again() {
    let code = TempDir::new().unwrap();
    fs::create_dir(code.path().join("__pycache__")).unwrap();
    let further = format!("  directory: {}\n", code.path().display());
    let dev = Dev::scripted("echo", &further);
    assert_eq!(dev.invoke("{}").text(), "{}");
    let first = processes_in(code.path());
    fs::write(code.path().join("__pycache__/app.pyc"), "x").unwrap();
    fs::write(code.path().join(".hidden"), "x").unwrap();
    assert_eq!(dev.invoke("{}").text(), "{}");
    assert_eq!(processes_in(code.path()), first);
    fs::write(code.path().join("app.py"), "x").unwrap();
    dev.process.says("[f] files have changed: the next event starts it again");
    assert_eq!(dev.invoke("{}").text(), "{}");
    assert!(processes_in(code.path()).iter().all(|pid| !first.contains(pid)));
}

#[test]
fn a_program_that_is_built_after_the_start_is_followed() {
    let code = TempDir::new().unwrap();
    let functions = format!(
        "- name: f\n  command: target/debug/f\n  directory: {}\n  \
         environment: {{ SCRIPTED_RUNTIME: echo }}\n",
        code.path().display()
    );
    let dev = Dev::start(&[lambda("f", "")], &functions);
    let error = dev.invoke("{}").json();
    assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint", "{error}");
    let directory = code.path().join("target/debug");
    fs::create_dir_all(&directory).unwrap();
    let build = || {
        let program = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nexec '{}' local_functions::scripted::runtime --exact --nocapture\n",
            program.display()
        );
        fs::write(directory.join("new"), script).unwrap();
        fs::set_permissions(directory.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(directory.join("new"), directory.join("f")).unwrap();
    };
    build();
    eventually("the program runs", || dev.invoke("1").text() == "1");
    let first = processes_in(code.path());
    build();
    eventually("the program is started again", || {
        dev.invoke("2").text() == "2" && processes_in(code.path()).iter().all(|pid| !first.contains(pid))
    });
}

/// The remote addresses of the sockets of a process, in the hexadecimal form of `proc_net_tcp(5)`.
fn peers(pid: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok);
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inodes: Vec<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if inodes.iter().any(|inode| fields.get(9) == Some(&&**inode)) {
                found.push(fields[2].split(':').next().unwrap().to_owned());
            }
        }
    }
    found
}

/// A listener on an address of this machine other than loopback, which takes the place of the internet;
/// `None` on a machine without a network.
fn outside() -> Option<TcpListener> {
    // sends nothing, and gives the address that packets to the internet would have
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().unwrap().ip();
    let listener = TcpListener::bind((address, 0)).ok().filter(|_| !address.is_loopback())?;
    listener.set_nonblocking(true).unwrap();
    Some(listener)
}

#[test]
fn nothing_leaves_loopback() {
    let outside = outside();
    let target =
        outside.as_ref().map_or("192.0.2.1:9".parse().unwrap(), |outside| outside.local_addr().unwrap());
    let process = format!(
        "listen: {{ http: '127.0.0.1:0' }}\n\
         tracing: {{ sample: 1, otlp: {{ endpoint: 'http://{target}' }} }}\n"
    );
    let gateway = format!(
        "uri: /g/*\napi_gateway:\n  function_uri: https://{API}/prod\n  proxy_url: http://{target}\n  \
         authorization: {{ iam: {{ aws_region: eu-west-1, sts_endpoint_url: 'http://{target}', \
         assume_role_arn: 'arn:aws:iam::123456789012:role/r' }} }}\n"
    );
    let directory = settings(&process, &[("g", &gateway), ("f", &lambda("f", "").1)]);
    let mut command = dev_command(directory.path(), &[]);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        command.env(name, format!("http://{target}"));
    }
    command.env("APIGW_INVOKER__TRACING__OTLP__ENDPOINT", format!("http://{target}"));
    let (mut process, address) = Process::listening(&mut command);
    for _ in 0..10 {
        assert_eq!(get(address, "/g/x").status, 200);
        assert_eq!(get(address, "/f").status, 200);
        let peers = peers(process.id());
        assert!(!peers.is_empty());
        for peer in peers {
            let is_loopback = peer.ends_with("7F") && peer.len() == 8;
            assert!(is_loopback || peer.chars().all(|char| char == '0'), "{peer}");
        }
    }
    // an exporter would send its last spans now
    process.stop();
    let connected = outside.map(|outside| outside.accept().map(drop).map_err(|error| error.kind()));
    assert!(matches!(connected, None | Some(Err(ErrorKind::WouldBlock))), "{connected:?}");
}

#[test]
fn routes_and_explain_show_what_dev_would_run() {
    let directory = directory(&[api("g")], "");
    let run = |arguments: &[&str]| {
        let mut command = binary(arguments);
        end_of(command.arg("--settings").arg(directory.path()))
    };
    let routes = run(&["routes", "--dev", "--output", "json"]);
    assert_eq!(routes.code, Some(0), "{}", routes.errors);
    assert!(routes.output.contains("127.0.0.1:9081"), "{}", routes.output);
    assert!(routes.errors.contains("api_gateway.authorization.apikey: replaced"), "{}", routes.errors);
    let explained = run(&["explain", "--dev", "GET", "/g/x"]);
    assert_eq!(explained.code, Some(0), "{}", explained.errors);
    assert!(explained.output.contains(API), "{}", explained.output);
    // without `--dev` the reference has no value
    assert_eq!(run(&["routes"]).code, Some(78));
}

#[test]
fn a_wrong_region_is_refused_as_by_aws() {
    let route = api("g").1.replace("aws_region: eu-west-1", "aws_region: us-east-1");
    let dev = Dev::start(&[("g".to_owned(), route)], "");
    let response = get(dev.address, "/g/x");
    assert_eq!(response.status, 403);
    dev.process.says("AWS refused the signature for its region");
}

#[test]
fn mistakes_in_functions_are_plain_sentences() {
    let refused = |functions: &str, further: &[&str]| {
        let directory = directory(&[lambda("f", "")], functions);
        let ended = end_of(&mut dev_command(directory.path(), further));
        assert_eq!(ended.code, Some(78), "{}", ended.errors);
        ended.errors
    };
    let errors = refused("- { name: other, command: x }\n", &[]);
    assert!(errors.contains("no route calls the function `other`"), "{errors}");
    let errors = refused("- { name: f, command: x }\n- { name: f, command: y }\n", &[]);
    assert!(errors.contains("functions.yaml:2: name: another function has the name `f`"), "{errors}");
    let errors = refused("- { name: f, comand: x, timeout: 1h }\n", &[]);
    assert!(errors.contains("comand: unknown key"), "{errors}");
    assert!(errors.contains("timeout: out of range; expected 100ms to 15m"), "{errors}");
    let errors = refused("- { name: f, command: x }\n", &["--function", "f=y"]);
    assert!(errors.contains("two functions have the name `f`"), "{errors}");
    let errors = refused("", &["--function", "f=y", "--function", "f=z"]);
    assert!(errors.contains("two functions have the name `f`"), "{errors}");
    let errors = refused("- { name: f, command: x, routes: [nowhere] }\n", &[]);
    assert!(errors.contains("no route with api_gateway has this id"), "{errors}");
    for (item, expected) in [
        ("command: true", "command: found true or false; expected a text, or a list of texts"),
        ("command: [1]", "command.0: found a number; expected a text (in quotes"),
        ("command: x, memory: 1", "memory: unknown key; expected one of command, concurrency, directory"),
        ("command: x, timeout: 0", "timeout: out of range; expected 100ms to 15m"),
        ("command: x, concurrency: 0", "concurrency: out of range; expected 1 to 100"),
        ("command: x, directory: nowhere", "nowhere is not a directory"),
        ("command: x, environment: { 'A=B': '1' }", "environment: a variable that no process can have"),
        ("command: x, environment: { AWS_LAMBDA_RUNTIME_API: a }", "the function's own Runtime API"),
        ("command: \"x\\0\"", "command: contains a NUL character"),
    ] {
        let errors = refused(&format!("- {{ name: f, {item} }}\n"), &[]);
        assert!(errors.contains(expected) && errors.contains("1 mistake"), "{item}: {errors}");
    }
    let errors = refused("- f\n", &[]);
    assert!(errors.contains("functions.yaml:1: not a function; expected a table with `name`"), "{errors}");
}

#[test]
fn a_route_has_one_function() {
    let functions = "- { name: f, command: x, routes: [g] }\n- { name: g, command: x }\n";
    let directory = directory(&[lambda("f", ""), api("g")], functions);
    let ended = end_of(&mut dev_command(directory.path(), &[]));
    assert_eq!(ended.code, Some(78), "{}", ended.errors);
    let expected = "the functions `f` and `g` are both behind the route `g`: a route has one function";
    assert!(ended.errors.contains(expected), "{}", ended.errors);
}

#[test]
fn a_file_of_functions_may_be_created_and_removed_while_dev_runs() {
    let process = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\n";
    let (name, text) = lambda("f", "");
    let directory = settings(process, &[(&name, &text)]);
    let (mut dev, address) = Process::listening(&mut dev_command(directory.path(), &[]));
    let invoke = || call(address, "POST", "/f", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(invoke().text(), "{}", "without a function the event is the answer");
    let file = directory.path().join("functions.yaml");
    fs::write(&file, scripted::item("f", "fails", "")).unwrap();
    eventually("the function", || invoke().header("x-amz-function-error").is_some());
    fs::remove_file(file).unwrap();
    eventually("no function", || invoke().text() == "{}");
    let log = dev.stop();
    assert!(log.contains("functions reloaded: 1 function\n"), "{log}");
    assert!(!log.contains("settings reloaded"), "the routes are the same: {log}");
}

#[test]
fn run_and_check_accept_the_file_of_functions_and_never_execute_it() {
    let directory = directory(&[lambda("f", "")], "not: [even, a list\n");
    let mut check = binary(&["check", "--settings"]);
    let ended = end_of(check.arg(directory.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
}
