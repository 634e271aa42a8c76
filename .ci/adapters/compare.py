"""Sends every request through the sidecar and directly, and compares the responses. Called by `run`."""

import base64
import http.client
import json
import logging
import re
import subprocess
import sys
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import lambda_api
import python_applications
from cases import REQUESTS

VERSIONS = ("1.0", "2.0")
# the framework that is served directly for each adapter
DIRECT = python_applications.DIRECT | {
    "serverless-express": "express",
    "serverless-http": "express",
    "fastify": "fastify",
    "hono": "hono",
    "middy": "express",
}
# connection headers, server headers, and headers that differ in each response
LEFT_OUT = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "x-request-id"}
# a framework that nobody serves tells what another one sees: in these members, of requests that both understand
ECHO_ONLY = {"powertools", "middy"}


@dataclass
class Answer:
    status: int
    headers: list
    cookies: list
    body: bytes


# Differences that are not the sidecar's: adapter, version, case and field, each a pattern for the whole of it, and why.
# Where AWS is named, its own gateways make the same difference.
ALLOWED = [
    (".*", ".*", "redirect", "headers", "AWS gives a type to an answer that has none, also to an empty one"),
    ("mangum", "2.0", "204.*", "headers", "Mangum itself says application/json where the application says nothing"),
    ("serverless-wsgi|serverless-http|powertools|middy", "1.0", "repeated header", "headers",
     "they read the single values of 1.0, which hold the last, as with AWS"),
    ("powertools", "2.0", "repeated key.*|comma in a query|brackets in a query", "query",
     "2.0 joins values by commas, as AWS does, and Powertools leaves them joined"),
    ("fastify", "2.0", "comma in a query", "query|url",
     "it cuts what 2.0 has joined at every comma, where others read rawQueryString"),
    ("serverless-express|serverless-http|fastify|hono", ".*", "repeated keys among others|flag|plus in a query", "url|search",
     "they write a query anew from its names and values: grouped, `flag=` for `flag`, `%20` for `+` or the reverse"),
    ("serverless-express", "1.0", "slash at the end", "path|url|parameter",
     "it makes the path of pathParameters.proxy, which has no slash at its end, as with AWS"),
    ("serverless-express", "1.0", "nothing behind the prefix|404", "status",
     "Express's own 404 fails on its stand-in for a socket; the first is a 404 because of the slash"),
    ("fastify", "2.0", "cookies|quoted cookie", "cookie", "it joins cookies by `;` alone"),
    ("hono", ".*", "get with a body", "status", "its Request has no body on a GET, as fetch demands"),
    ("hono", "2.0", "empty header", "headers", "it leaves out headers of 2.0 without a value"),
]


def allowed(*difference: str) -> int | None:
    """The known difference that matches, if any."""
    for number, (*patterns, _) in enumerate(ALLOWED):
        if all(re.fullmatch(pattern, value) for pattern, value in zip(patterns, difference)):
            return number
    return None


def ask(port: int, host: str, case) -> Answer:
    _, method, target, headers, body = case
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for name, value in headers:
        connection.putheader(name, value)
    if body or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    lines = [(name.lower(), value) for name, value in response.getheaders()]
    others = sorted((name, value) for name, value in lines if name not in LEFT_OUT | {"set-cookie"})
    return Answer(response.status, others, [value for name, value in lines if name == "set-cookie"], body)


def settings(directory: Path, api: int) -> None:
    """A route for each adapter and version, told apart by their hosts."""
    (directory / "routes").mkdir(parents=True, exist_ok=True)
    default = "listen: { http: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n"
    (directory / "default.yaml").write_text(default)
    for adapter in DIRECT:
        for version in VERSIONS:
            (directory / "routes" / f"{adapter}-{version[0]}.yaml").write_text(f"""uri: /*
hosts: [{host(adapter, version)}]
lambda:
  function_name: {adapter}
  aws_region: us-east-1
  aws_key: AKIDEXAMPLE
  aws_secret: secret
  host: 127.0.0.1
  port: {api}
  disable_https: true
  awsgateway_compatible: true
  awsgateway_compatible_payload_version: {version}
  is_proxy_integration: true
  retry: {{ attempts: 1 }}
""")


def host(adapter: str, version: str) -> str:
    return f"{adapter}-{version[0]}.test"


def start_sidecar(invoker: str, directory: Path) -> tuple[subprocess.Popen, int]:
    """Starts it and reads from its log where it listens. What it warns of later is shown."""
    process = subprocess.Popen([invoker, "--settings", directory], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
            threading.Thread(target=show_warnings, args=(process.stderr,), daemon=True).start()
            return process, int(found[1])
        print(line, end="", file=sys.stderr)
    sys.exit("the sidecar has not started")


def show_warnings(log) -> None:
    for line in log:
        if " WARN " in line or " ERROR " in line:
            print(line, end="", file=sys.stderr)


def start_node(directory: Path) -> tuple[subprocess.Popen, dict]:
    process = subprocess.Popen(["node", directory / "applications.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, json.loads(process.stdout.readline())


def parsed(case):
    """What a middleware makes of a body: members of a form or of JSON, and other text as it is."""
    _, _, _, headers, body = case
    kind = dict(headers).get("Content-Type", "")
    if not body:
        return None
    if "json" in kind:
        return json.loads(body)
    if "urlencoded" in kind:
        return {name: values if len(values) > 1 else values[0] for name, values in urllib.parse.parse_qs(body.decode()).items()}
    return Ellipsis


def members(case, own: dict, direct: dict):
    """The members of both echoes that can be compared, by name."""
    for name, value in own.items():
        if name == "parsed":
            if parsed(case) is not Ellipsis:
                yield name, value, parsed(case)
        elif name in direct:
            yield name, value, direct[name]


def differences(adapter: str, case, through: Answer, direct: Answer):
    """The fields in which two answers differ, with both values."""
    if through.status != direct.status:
        yield "status", through.status, direct.status
        return
    if adapter not in ECHO_ONLY:
        if through.headers != direct.headers:
            yield "headers", through.headers, direct.headers
        if through.cookies != direct.cookies:
            yield "cookies", through.cookies, direct.cookies
    if through.body == direct.body:
        return
    try:
        own, other = json.loads(through.body), json.loads(direct.body)
    except ValueError:
        yield "body", through.body[:200], direct.body[:200]
        return
    if adapter not in ECHO_ONLY and set(own) != set(other):
        yield "members", sorted(own), sorted(other)
    for name, value, expected in members(case, own, other):
        if value != expected:
            yield name, value, expected


def main() -> None:
    work, invoker = Path(sys.argv[1]), sys.argv[2]
    logging.disable(logging.CRITICAL)
    node, ports = start_node(work)
    ports |= python_applications.serve()
    settings(work / "settings", lambda_api.serve(ports["handlers"]))
    sidecar, port = start_sidecar(invoker, work / "settings")
    passed = failed = excused = 0
    used = set()
    for adapter, framework in DIRECT.items():
        for version in VERSIONS:
            for case in REQUESTS:
                name, _, target = case[:3]
                if adapter in ECHO_ONLY and not target.startswith("/echo"):
                    continue
                through = ask(port, host(adapter, version), case)
                direct = ask(ports[framework], host(adapter, version), case)
                wrong = []
                for field, own, expected in differences(adapter, case, through, direct):
                    reason = allowed(adapter, version, name, field)
                    if reason is not None:
                        used.add(reason)
                        excused += 1
                    else:
                        wrong.append(f"  {field}\n    through {str(own)[:400]}\n    direct  {str(expected)[:400]}")
                if wrong:
                    failed += 1
                    print(f"{adapter} {version}: {name}", *wrong, sep="\n")
                else:
                    passed += 1
    for number, (*difference, _) in enumerate(ALLOWED):
        if number not in used:
            failed += 1
            print(f"no longer needed: {difference}")
    sidecar.terminate()
    node.stdin.close()
    sidecar.wait(10)
    print(f"{excused} differences are the adapters' own\n{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
