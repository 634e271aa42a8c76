//! Settings files that are too deep, too large, or not regular files: a mistake is reported, and the process
//! keeps serving.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, path::Path, process::Command, time::Instant};

use super::support::{
    Upstream, eventually, get,
    process::{Process, command, end_of, settings},
};

const PROCESS: &str =
    "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\nlog: { access: false }\n";

fn route(upstream: &Upstream) -> String {
    format!("uri: /a\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"))
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Texts that expand beyond their size, and the expected mistake with its line.
fn bombs() -> Vec<(String, &'static str)> {
    let mut laughs = "uri: /x\nx0: &x0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..8 {
        let items = vec![format!("*x{}", level - 1); 10].join(", ");
        laughs = format!("{laughs}x{level}: &x{level} [{items}]\n");
    }
    vec![
        (format!("uri: /x\nx:\n{}", "- ".repeat(1500)), ":3: nested too deep; expected at most 32 levels"),
        (format!("x: {}", "[".repeat(200)), ":1: nested too deep; expected at most 32 levels"),
        ("x[400000000]: 1\n".to_owned(), ":1: a key with `.` or `[`; expected keys one below the other"),
        (laughs, ":5: too many keys and values; expected at most 10000 in a file"),
        ("uri: /x\nx: &x [*x]\n".to_owned(), ":2: a recursive alias: it is inside its own anchor"),
        ("x: &x { a: 1 }\ny: { <<: [*x, *x] }\n".to_owned(), ":2: merge keys (`<<`) are not supported"),
        (format!("? {}\n: 1\n", "x".repeat(200_000)), ":1: a key too long; expected at most 1024 bytes"),
        ("x".repeat(300_000), ": cannot be read: longer than 262144 bytes"),
        (format!("hosts: [{}]", "a,".repeat(20_000)), ":1: too many keys and values"),
    ]
}

#[test]
fn x4_a_control_character_in_a_file_is_a_mistake() {
    let text = "uri: /a\napi_gateway:\n  function_uri: https://h.example/p\n\0\n  authorization: {apikey: \
                k}\ngarbage: [\n";
    for (text, told) in [
        (text, "routes/a.yaml:4: a control character, U+0000, is byte 1 of the line"),
        ("uri: /a\nid: 'x\u{8}'\n", "routes/a.yaml:2: a control character, U+0008, is byte 7 of the line"),
    ] {
        let directory = settings("", &[("a", text)]);
        let ended = end_of(&mut command("check", directory.path()));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.errors.contains(told), "{ended:?}");
    }
}

#[test]
fn x4_yaml_without_bounds_is_a_mistake_in_check_and_at_start() {
    let upstream = Upstream::ok();
    for (bomb, says) in bombs() {
        for is_process in [true, false] {
            let directory = settings("", &[("a", &route(&upstream)), ("b", &route(&upstream))]);
            let file = if is_process { "default.yaml" } else { "routes/b.yaml" };
            fs::write(directory.path().join(file), &bomb).unwrap();
            for name in ["check", "run", "explain"] {
                let mut command = command(name, directory.path());
                if name == "explain" {
                    command.args(["GET", "/a"]);
                }
                let ended = end_of(&mut command);
                assert_eq!(ended.code, Some(78), "{}", ended.errors);
                assert!(ended.errors.contains(&format!("{file}{says}")), "{name}: {}", ended.errors);
            }
        }
    }
}

#[test]
fn x4_a_running_process_keeps_serving_whatever_a_settings_file_becomes() {
    let upstream = Upstream::ok();
    let directory = settings(PROCESS, &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    for (bomb, says) in bombs() {
        fs::write(directory.path().join("routes/b.yaml"), bomb).unwrap();
        process.says(&format!("routes/b.yaml{says}"));
        assert_eq!(get(address, "/a").status, 200);
    }
    fs::write(directory.path().join("routes/b.yaml"), route(&upstream).replace("/a", "/b")).unwrap();
    eventually("b is there", || get(address, "/b").status == 200);
    process.stop();
}

/// Checks that the mistake is logged, requests are served, and SIGTERM ends the process within seconds.
fn assert_serves_and_ends(mut process: Process, address: SocketAddr, says: &str) {
    process.says(says);
    assert_eq!(get(address, "/a").status, 200);
    let asked = Instant::now();
    process.stop();
    assert!(asked.elapsed().as_secs() < 5, "{says}: {:?}", asked.elapsed());
}

#[test]
fn x6_a_route_that_is_no_regular_file_neither_hangs_nor_keeps_the_process_from_ending() {
    let upstream = Upstream::ok();
    for device in [None, Some("/dev/zero"), Some("/dev/tty"), Some("/")] {
        let directory = settings(PROCESS, &[("a", &route(&upstream))]);
        let (process, address) = Process::run(directory.path());
        let file = directory.path().join("routes/z.yaml");
        match device {
            None => pipe(&file),
            Some(device) => symlink(device, &file).unwrap(),
        }
        assert_serves_and_ends(process, address, "routes/z.yaml: cannot be read: not a regular file");
        let ended = end_of(&mut command("check", directory.path()));
        assert_eq!(ended.code, Some(78), "{}", ended.errors);
        assert!(ended.errors.contains("not a regular file"), "{}", ended.errors);
    }
}

#[test]
fn x6_settings_are_read_again_once_a_pipe_among_them_is_gone() {
    let upstream = Upstream::ok();
    let directory = settings(PROCESS, &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    let file = directory.path().join("routes/z.yaml");
    pipe(&file);
    process.says("not a regular file");
    fs::remove_file(&file).unwrap();
    fs::write(directory.path().join("routes/b.yaml"), route(&upstream).replace("/a", "/b")).unwrap();
    eventually("b is there", || get(address, "/b").status == 200);
    process.stop();
}

#[test]
fn x6_what_settings_refer_to_is_a_regular_file() {
    let upstream = Upstream::ok();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("pipe");
    pipe(&file);
    for path in [file.display().to_string(), "/dev/zero".to_owned()] {
        for key in [
            format!("authorization: {{ apikey: '$file://{path}' }}"),
            format!("ca_certificate: {path}"),
            format!("client_certificate: {path}\n  client_key: {path}"),
        ] {
            let https = route(&upstream).replace("http:", "https:");
            let directory = settings(PROCESS, &[("a", &route(&upstream))]);
            let (process, address) = Process::run(directory.path());
            let wrong = format!("{}  {key}\n", https.replace("/a", "/b"));
            fs::write(directory.path().join("routes/b.yaml"), wrong).unwrap();
            assert_serves_and_ends(process, address, "not a regular file");
        }
        let https = format!("{{ address: '127.0.0.1:0', certificate: {path}, key: {path} }}");
        let process = format!("listen: {{ http: '127.0.0.1:0', https: {https} }}\n");
        let ended = end_of(&mut command("run", settings(&process, &[("a", &route(&upstream))]).path()));
        assert_eq!(ended.code, Some(78), "{}", ended.errors);
        assert!(ended.errors.contains("not a regular file"), "{}", ended.errors);
    }
}

#[test]
fn k2_a_byte_order_mark_is_no_part_of_the_first_key() {
    let upstream = Upstream::ok();
    let directory =
        settings(&format!("\u{feff}{PROCESS}"), &[("a", &format!("\u{feff}{}", route(&upstream)))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/a").status, 200);
    process.stop();
}

#[test]
fn k10_a_route_ends_with_its_file_the_last_one_too() {
    let upstream = Upstream::ok();
    let directory = settings(PROCESS, &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/a").status, 200);
    fs::remove_file(directory.path().join("routes/a.yaml")).unwrap();
    eventually("the route ends", || get(address, "/a").status == 404);
    process.says("there is no route: every request is answered 404");
    fs::write(directory.path().join("routes/a.yaml"), route(&upstream)).unwrap();
    eventually("the route is back", || get(address, "/a").status == 200);
    // a missing directory does not mean that all routes were removed
    fs::rename(directory.path().join("routes"), directory.path().join("elsewhere")).unwrap();
    process.says("there is no route; expected at least one file NAME.yaml");
    assert_eq!(get(address, "/a").status, 200);
    process.stop();
}

#[test]
fn k1_k11_what_is_taken_otherwise_than_written_is_a_warning_of_check() {
    let lambda = "uri: /u/:slug\nlambda: { function_name: f, aws_region: us-east-1, keepalive: 60 }\n";
    let directory = settings("", &[("a", lambda)]);
    let ended = end_of(&mut command("check", directory.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    for warning in
        ["routes/a.yaml:1: uri: matches `:` and", "routes/a.yaml:2: lambda.keepalive: shorter than 1s"]
    {
        let warned = ended.errors.lines().any(|line| line.starts_with("warning: ") && line.contains(warning));
        assert!(warned, "{warning}: {}", ended.errors);
    }
}

#[test]
fn k8_a_file_with_another_ending_is_read_or_refused() {
    let upstream = Upstream::ok();
    let directory = settings("", &[]);
    fs::write(directory.path().join("routes/a.yml"), route(&upstream)).unwrap();
    assert_eq!(end_of(&mut command("check", directory.path())).code, Some(0));
    fs::write(directory.path().join("default.yml"), "workers: 2\n").unwrap();
    let ended = end_of(&mut command("check", directory.path()));
    assert_eq!(ended.code, Some(78));
    assert!(ended.errors.contains("default.yml: not read; expected default.yaml"), "{}", ended.errors);
    for name in ["Default.yaml", "DEFAULT.YML", "default.json", "default.toml", "default"] {
        let directory = settings("", &[("a", &route(&upstream))]);
        fs::write(directory.path().join(name), "").unwrap();
        let ended = end_of(&mut command("check", directory.path()));
        let says = format!("{name}: not read; expected default.yaml");
        assert!(ended.code == Some(78) && ended.errors.contains(&says), "{}", ended.errors);
    }
    let directory = settings("", &[("a", &route(&upstream))]);
    for name in ["README.md", "defaults.txt", ".default.yaml.swp", "default.yaml~"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    assert_eq!(end_of(&mut command("check", directory.path())).code, Some(0));
}

/// A home directory whose SSO cache and token files are links to `path`.
fn home_with(path: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for cache in [".aws/sso/cache", ".aws/login/cache"] {
        let cache = home.path().join(cache);
        fs::create_dir_all(&cache).unwrap();
        // SHA-1 and SHA-256 of `s`
        symlink(path, cache.join("a0f1490a20d0211c997b44bc357e1972deab8ae3.json")).unwrap();
        let name = "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89.json";
        symlink(path, cache.join(name)).unwrap();
    }
    let config = format!(
        "[profile token]\nrole_arn = arn:aws:iam::123456789012:role/r\nweb_identity_token_file = {path}\n\
         [profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
         [sso-session s]\nsso_start_url = https://127.0.0.1:1/\nsso_region = us-east-1\n\
         [profile login]\nlogin_session = s\nregion = us-east-1\n"
    );
    fs::write(home.path().join(".aws/config"), config).unwrap();
    home
}

#[test]
fn x6_no_credentials_file_hangs_or_fills_the_memory() {
    let upstream = Upstream::ok();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("pipe");
    pipe(&file);
    for path in [file.display().to_string(), "/dev/zero".to_owned()] {
        let home = home_with(&path);
        let token =
            [("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", &path)];
        let agent = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &path),
        ];
        for (iam, variables) in [
            ("", &token[..]),
            ("", &agent[..]),
            ("", &[("AWS_CONFIG_FILE", &*path)][..]),
            ("", &[("AWS_SHARED_CREDENTIALS_FILE", &*path)][..]),
            ("profile: token", &[][..]),
            ("profile: sso", &[][..]),
            ("profile: login", &[][..]),
        ] {
            let signed =
                format!("{}  authorization: {{ iam: {{ {iam} }} }}\n", route(&upstream).replace("/a", "/b"));
            let directory = settings(PROCESS, &[("a", &route(&upstream)), ("b", &signed)]);
            let mut command = command("run", directory.path());
            command.env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
            let (process, address) = Process::listening(command.envs(variables.iter().copied()));
            assert_serves_and_ends(process, address, "not a regular file");
        }
    }
}

#[test]
fn x6_the_platforms_authorities_are_a_regular_file_at_the_start() {
    let upstream = Upstream::ok();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("pipe");
    pipe(&file);
    for path in [&*file, Path::new("/dev/zero")] {
        let https = "uri: /b\napi_gateway:\n  function_uri: https://127.0.0.1:1/\n";
        let directory = settings(PROCESS, &[("a", &route(&upstream)), ("b", https)]);
        let (process, address) =
            Process::listening(command("run", directory.path()).env("SSL_CERT_FILE", path));
        assert_serves_and_ends(process, address, "SSL_CERT_FILE");
    }
}
