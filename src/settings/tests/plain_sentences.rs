//! Settings in the form of another gateway or tool: valid, or a mistake that names the line and the cure.

use super::*;

const LAMBDA: &str = "uri: /f\nlambda:\n  function_name: f\n  aws_region: us-east-1\n";

#[track_caller]
fn assert_wrong(process: &str, route: &str, expected: &str) {
    let found = mistakes(process, route);
    assert!(found.iter().any(|mistake| mistake.contains(expected)), "{expected}\nis not in\n{found:#?}");
}

fn taken(process: &str, route: &str) -> Settings {
    read(process, &[("hello", route)], &[]).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn k1_a_brace_in_a_path_is_a_mistake_and_a_colon_a_warning() {
    let with = |uri: &str| ROUTE.replace("/aws/*", uri);
    for uri in ["/site/{slug", "/site-{slug}", "/a}", "/{proxy+}/x", "/{a}/{a}"] {
        assert_wrong("", &with(uri), "routes/hello.yaml:1: uri: invalid value `");
        assert_wrong("", &with(uri), "with whole segments `{name}`");
    }
    assert_wrong(
        "",
        &ROUTE.replace("uri: /aws/*", "uris: [/a, '/{b']"),
        "routes/hello.yaml:1: uris.1: invalid value `/{b`",
    );
    let settings = taken("", &with("/u/:slug"));
    let expected = "routes/hello.yaml:1: uri: matches `:` and the name after it literally";
    assert!(settings.warnings[0].starts_with(expected), "{:?}", settings.warnings);
    assert_eq!(taken("", &ROUTE.replace("uri: /aws/*", "uris: [/a, /u/:slug/x]")).warnings.len(), 1);
    for quiet in ["/v1/models:predict", "/a:b/*", "/:/x", "/%7Bslug%7D"] {
        assert!(taken("", &with(quiet)).warnings.is_empty(), "{quiet}");
    }
}

#[test]
fn a_mistake_in_a_path_says_what_the_path_must_be() {
    for (uri, expected) in [
        ("users", "invalid value `users`; expected a path that starts with `/`"),
        ("/a{b}", "letters, digits, `.`, `_`, `:` and `-` alone; `%7B` is a brace itself"),
        ("/{a b}", "letters, digits, `.`, `_`, `:` and `-` alone"),
        ("/{a+}/b", "with one `{name+}` or `*`, at its end"),
        ("/{a+}*", "with one `{name+}` or `*`, at its end"),
        ("/{a}/{b}/{a+}", "with each name once, where a final `*` is called `proxy`"),
        ("/{proxy}/*", "with each name once, where a final `*` is called `proxy`"),
        ("/a?b", "without query, fragment, blanks, `..`"),
        ("/{a}/../b", "without query, fragment, blanks, `..`"),
        ("/*/b", "with `*` at its end at most"),
    ] {
        assert_wrong("", &ROUTE.replace("/aws/*", uri), expected);
    }
    let warned = &taken("", &ROUTE.replace("/aws/*", "/u/:slug*")).warnings[0];
    assert!(warned.contains("a path parameter is written `{slug}`"), "{warned}");
}

#[test]
fn paths_of_a_route_that_name_the_same_parameter_differently_are_a_mistake() {
    let with = |uris: &str| ROUTE.replace("uri: /aws/*", &format!("uris: [{uris}]"));
    for (uris, expected) in [
        ("'/u/{id}', /a, '/u/{user}'", "uris: `/u/{user}` matches the same paths as `/u/{id}`"),
        ("'/f/*', '/f/{path+}'", "uris: `/f/{path+}` matches the same paths as `/f/*`"),
        ("'/u/{id}*', '/u/{user}'", "uris: `/u/{user}` matches the same paths as `/u/{id}*`"),
    ] {
        assert_wrong("", &with(uris), expected);
    }
    for uris in ["/a, /a*, /a/*", "'/u/{id}', '/u/{id}*'", "'/f*', '/f/{proxy+}'", "'/{a}/x', '/x/{b}'"] {
        taken("", &with(uris));
    }
}

#[test]
fn a_parameter_of_function_uri_that_is_in_no_path_is_a_mistake() {
    let uri = "function_uri: https://abc.execute-api.us-east-1.amazonaws.com/prod";
    let with = |path: &str, rest: &str| ROUTE.replace("/aws/*", path).replace(uri, &format!("{uri}{rest}"));
    assert_wrong(
        "",
        &with("/u/{id}", "/{user}"),
        "api_gateway.function_uri: `{user}` is not in the path `/u/{id}`; expected `{id}`",
    );
    assert_wrong("", &with("/u", "?x={id}"), "`{id}` is not in the path `/u`; expected `{id}` in the path");
    let several = with("/u/{id}", "/{id}").replace("uri: /u/{id}", "uris: ['/u/{id}', '/v/{user}']");
    assert_wrong("", &several, "`{id}` is not in the path `/v/{user}`; expected `{user}`");
    taken("", &with("/u/{id}/*", "/{id}/{proxy}"));
}

#[test]
fn strip_path_and_rewrite_exclude_each_other_and_strip_path_is_for_lambda() {
    assert_wrong("", &format!("strip_path: true\n{ROUTE}"), "strip_path: has no effect with `api_gateway`");
    let lambda = "uri: /a\nlambda: { function_name: f, aws_region: us-east-1 }\n";
    taken("", &format!("strip_path: true\n{lambda}"));
    let without_path = format!("rewrite: /b/c/\n{lambda}");
    let told = "route hello: rewrite changes no path that the function sees: set awsgateway_compatible";
    assert_eq!(warnings(&taken("", &without_path)), [told]);
    let event = "us-east-1, awsgateway_compatible: true }";
    assert_eq!(warnings(&taken("", &without_path.replace("us-east-1 }", event))), [""; 0]);
    assert_wrong(
        "",
        &format!("strip_path: true\nrewrite: /b\n{lambda}"),
        "rewrite: conflicts with `strip_path`",
    );
    for wrong in ["b", "/b*", "'/{b}'", "/b?c", "/b/../c", "''"] {
        assert_wrong("", &format!("rewrite: {wrong}\n{lambda}"), "rewrite: ");
    }
}

#[test]
fn k2_a_byte_order_mark_is_taken_in_every_file() {
    let settings = taken("\u{feff}workers: 3\n", &format!("\u{feff}{ROUTE}"));
    assert_eq!((settings.workers, settings.routes.len()), (3, 1));
    assert_wrong("", &format!("\u{feff}{ROUTE}nothing: 1\n"), "routes/hello.yaml:4: nothing: unknown key");
}

#[test]
fn k7_each_wrong_spelling_is_a_plain_sentence_with_line_and_cure() {
    let gateway = |rest: &str| format!("{ROUTE}{rest}");
    let lambda = |rest: &str| format!("{LAMBDA}{rest}");
    let file = "routes/hello.yaml:";
    for (route, expected) in [
        (
            gateway(
                "  authorization:\n    iam:\n      accesskey: a\n      secretkey: b\n      secret_key: c\n",
            ),
            "7: api_gateway.authorization.iam.secretkey: duplicate key in another spelling; expected one of \
             the two",
        ),
        (
            "- uri: /a\n  lambda: {}\n".to_owned(),
            "1: found a list; expected a table of keys such as `uri: /aws/*`",
        ),
        (format!("{ROUTE}---\n{ROUTE}"), "4: a second YAML document begins; expected one document in a file"),
        (gateway("  <<: {}\n"), "4: merge keys (`<<`) are not supported; expected the keys themselves"),
        (
            gateway("plugins:\n  aws-lambda: {}\n"),
            "4: plugins: unknown key; expected the plugin's own keys in a section",
        ),
        (
            "uri: /a\naws-lambda:\n  function_uri: https://a/\n".to_owned(),
            "2: aws-lambda: unknown key; expected `api_gateway`",
        ),
        (
            lambda("  authorization: { iam: {} }\n"),
            "5: lambda.authorization: unknown key; expected `aws_key` and `aws_secret`",
        ),
        (gateway("  timeout: -5\n"), "4: api_gateway.timeout: found a number below 0; expected a duration"),
        (
            gateway("  keepalive_pool: -5\n"),
            "4: api_gateway.keepalive_pool: found a number below 0; expected a whole number from 1 to 100000",
        ),
        (
            gateway("  keepalive_pool: 1.5\n"),
            "4: api_gateway.keepalive_pool: found a number with a fraction; expected a whole number from 1",
        ),
        (
            gateway("  timeout: 0.5\n"),
            "4: api_gateway.timeout: found a number with a fraction; expected a duration",
        ),
        (
            lambda("  client_context: [1]\n"),
            "5: lambda.client_context: invalid value; expected a table, or a text with a JSON object",
        ),
    ] {
        assert_wrong("", &route, &format!("{file}{expected}"));
    }
    // null is the same as an empty file
    for route in ["", "# nothing\n", "~\n", "null\n", "---\n"] {
        assert_wrong("", route, "missing backend; expected `api_gateway` or `lambda`");
        assert_eq!(taken(route, ROUTE).workers, 1);
    }
    for (process, expected) in [
        ("workers: auto\n", "default.yaml:1: workers: found a text; expected a whole number from 1 to 64"),
        (
            "workers: -5\n",
            "default.yaml:1: workers: found a number below 0; expected a whole number from 1 to 64",
        ),
        (
            "listen:\n  http: 9000\n",
            "default.yaml:2: listen.http: found a number; expected an IP address with a port",
        ),
        ("uri: /a\n", "default.yaml:1: uri: unknown key; expected a route in a file routes/NAME.yaml"),
        (
            "workers: 1\nlisten.http: 9000\n",
            "default.yaml:2: a key with `.` or `[`; expected `listen:`, and below it, indented, `http:`",
        ),
        (
            "log: { level: 5 }\n",
            "default.yaml:1: log.level: found a number; expected one of off, error, warn, info, debug",
        ),
        ("tracing: { otlp: { headers: [a] } }\n", "tracing.otlp.headers: found a list; expected a table"),
    ] {
        assert_wrong(process, ROUTE, expected);
    }
}

#[test]
fn k7_kongs_forms_of_values_are_valid() {
    let lambda = |rest: &str| {
        let settings = taken("", &format!("{LAMBDA}{rest}"));
        let BackendSettings::Lambda(lambda) = settings.routes[0].backend.clone() else {
            panic!("another backend")
        };
        lambda
    };
    // base64 of {"a":1}
    for written in ["client_context: { a: 1 }", "client_context: '{\"a\": 1}'"] {
        assert_eq!(
            lambda(&format!("  {written}\n")).client_context.as_deref(),
            Some("eyJhIjoxfQ=="),
            "{written}"
        );
    }
    let minute = Duration::from_mins(1);
    assert_eq!(lambda("  timeout: 60000.0\n").upstream.timeouts.idle, Some(minute));
    assert_eq!(lambda("  timeout: 60000\n").upstream.timeouts.idle, Some(minute));
    assert_eq!(lambda("  port: 8443.0\n").endpoint.port, 8443);
    assert_eq!(lambda("  timeout: 1.5s\n").upstream.timeouts.idle, Some(Duration::from_millis(1500)));
}

#[test]
fn x4_a_variable_that_names_no_key_is_a_mistake() {
    for name in ["APIGW_INVOKER__A[400000000]".to_owned(), format!("APIGW_INVOKER{}", "__A".repeat(9000))] {
        let found = read("", &[("hello", ROUTE)], &[(&name, "1")]).unwrap_err();
        let expected = "environment variable APIGW_INVOKER__A";
        assert!(found[0].starts_with(expected) && found[0].contains("does not name a key"), "{found:?}");
    }
}

#[test]
fn k8_routes_stand_in_files_of_their_own() {
    let route =
        "routes:\n  other:\n    uri: /other\n    lambda: { function_name: f, aws_region: us-east-1 }\n";
    let expected =
        "default.yaml:2: routes: routes are not read from this file; expected each in a file of its own";
    assert_wrong(&format!("workers: 1\n{route}"), ROUTE, expected);
    let unknown = mistakes("qqqq: 1\n", ROUTE);
    assert!(!unknown[0].contains("routes,"), "{unknown:?}");
    // a variable names a route's key so
    let variables = [("APIGW_INVOKER__ROUTES__HELLO__PRIORITY", "3")];
    assert_eq!(read("", &[("hello", ROUTE)], &variables).unwrap().routes[0].rule.priority, 3);
}

#[test]
fn k10_a_running_process_takes_an_empty_directory_of_routes_and_none_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let says = |mistakes: Mistakes| mistakes.to_string();
    let mut loader = SettingsLoader::new(directory.path());
    assert!(says(loader.load_again().unwrap_err()).contains("there is no route"));
    std::fs::create_dir(directory.path().join("routes")).unwrap();
    assert!(says(loader.load().unwrap_err()).contains("there is no route"));
    assert!(says(Settings::load(directory.path()).unwrap_err()).contains("there is no route"));
    let settings = loader.load_again().unwrap();
    assert!(settings.routes.is_empty());
    assert_eq!(settings.warnings, ["routes: there is no route: every request is answered 404"]);
}

#[test]
fn k11_a_keepalive_below_a_second_is_raised_with_a_warning() {
    for (written, raised) in [("1", true), ("999", true), ("500ms", true), ("1000", false), ("0", false)] {
        let settings = taken("", &format!("{LAMBDA}  keepalive: {written}\n"));
        let upstream = settings.routes[0].backend.upstream();
        assert_eq!(upstream.keepalive, written != "0");
        assert!(!raised || upstream.keepalive_timeout == Duration::from_secs(1), "{written}");
        let expected = "routes/hello.yaml:5: lambda.keepalive: shorter than 1s, raised to 1s";
        assert_eq!(
            settings.warnings.iter().any(|warning| warning.starts_with(expected)),
            raised,
            "{written}"
        );
    }
}

#[test]
fn x4_a_thousand_mistakes_and_combinations_take_no_time() {
    let start = std::time::Instant::now();
    let words: String = (0..4000).map(|number| format!("k{number}: 1\n")).collect();
    let found = mistakes("", &words);
    assert!(found.iter().any(|mistake| mistake.contains("there are more mistakes")), "{}", found.len());
    let list = |start: &str| (0..4000).map(|number| format!("{start}{number}, ")).collect::<String>();
    let many = ROUTE.replace("uri: /aws/*", &format!("uris: [{}]\nhosts: [{}]", list("/a"), list("h")));
    assert_wrong("", &many, "16000000 combinations of a host and a path; expected at most 10000");
    let wrong = ROUTE.replace("uri: /aws/*", &format!("uris: [{}]", list("a")));
    assert_eq!(mistakes("", &wrong).len(), 4000);
    let same = ROUTE.replace("uri: /aws/*", &format!("uris: [{}]", "/a, ".repeat(4000)));
    assert_eq!(taken("", &same).routes.len(), 1);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn x4_no_text_of_a_file_makes_the_settings_panic_or_take_long(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "uri: ", "uris: ", "hosts: ", "lambda:", "api_gateway:", "  body: ", "  stage_variables: ",
                "  timeout: ", "  function_uri: ", "  authorization: ", "  retry: ", "listen: ",
                "tracing: ", "defaults: ", "x: ", "/a", "/{a}", "[", "]", "{", "}", ", ", "- ", "\n", "\n",
                "\n  ", "\n    ", "a: ", "&a ", "*a", "1", "-5", "1.5", "true", "~", "\"\\x00\"", "'",
                "|\n", "$env://X", "$file:///dev/zero", "é", "\u{feff}", ": ", "? ", "#",
            ]),
            0..60,
        ),
    ) {
        let start = std::time::Instant::now();
        let text = pieces.concat();
        let _ = read(&text, &[("hello", ROUTE)], &[]);
        let _ = read("", &[("hello", &text)], &[("X", "hush")]);
        prop_assert!(start.elapsed() < Duration::from_secs(5), "{:?}: {text}", start.elapsed());
    }
}
