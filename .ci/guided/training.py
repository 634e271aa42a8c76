"""Lets a program work as it does for its users: starts, routes of each kind under load, the admin port, a reload."""

import asyncio
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import client
import http2
from load import Load
from upstream import Upstream

ROUTES = 100
KEYS = "{ iam: { accesskey: AKIDEXAMPLE, secretkey: example } }"
QUERY = "?id=42&name=J%C3%BCrgen&tag=a&tag=b"
HEADERS = "accept: application/json\r\nuser-agent: training/1.0\r\nauthorization: Bearer abc\r\ncookie: a=1; b=2\r\n"
ORDER = b'{"order":{"id":4711,"items":[{"name":"tea","price":4.5},{"name":"caf\xc3\xa9","price":12}]}}'
JSON = "content-type: application/json\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ORDER), ORDER)
# What is most frequent is made for speed; what is rare must only not be taken for unused, which is made for size. More
# of the rare makes the frequent slower: with five times as much, a GET took 3 percent more CPU.
LOADS = [
    Load("/signed/small", 160_000),
    Load("/signed/orders/7" + QUERY, 1_600, headers=HEADERS),
    Load("/signed/orders", 1_600, method="POST", body=ORDER, headers=JSON),
    Load("/signed/orders", 1_600, method="POST", body=CHUNKED, headers="transfer-encoding: chunked\r\n"),
    Load("/signed/large", 1_600),
    Load("/signed/events", 1_600),
    Load("/signed/missing", 1_600, status=404),
    Load("/secured/small", 64_000),
    Load("/secured/small", 1_600, method="POST", body=b"x" * (64 << 10)),
    Load("/secured/small", 192, method="POST", body=b"x" * (1 << 20)),
    Load("/key/orders/7" + QUERY, 1_600, headers=HEADERS),
    Load("/users/7/orders/9", 1_600),
    Load("/function", 64_000),
    Load("/function" + QUERY, 1_600, method="POST", body=ORDER, headers=HEADERS + JSON),
    Load("/function2" + QUERY, 1_600, headers=HEADERS),
    Load("/function2", 1_600, method="POST", body=ORDER, headers=JSON),
    Load("/binary", 1_600),
    Load("/plain", 1_600, method="POST", body=ORDER, headers=JSON),
    Load("/forwarding" + QUERY, 1_600, method="POST", body=ORDER, headers=HEADERS + JSON),
    Load("/failing", 640, status=502),
    Load("/streaming", 1_600),
    Load("/signed/unavailable", 320, status=503),
    # each closes its connection
    Load("/signed/orders", 32, status=413, method="POST", body=b"x" * 200_000),
    Load("/nowhere", 640, status=404),
    Load("/signed/small", 1_600, is_secured=True),
    Load("/signed/small", 1_600, is_http2=True),
    Load("/function", 1_600, is_http2=True),
]


def train(program: Path, work: Path) -> None:
    """Runs `program` several times, under load and without; `work` is a directory for settings and certificates."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    certificate, key = _certificate(work)
    upstream = Upstream(certificate, key)
    try:
        routes = _routes(upstream, certificate)
        tls = f"https: {{ address: '127.0.0.1:{{https}}', certificate: {certificate}, key: {key} }}"
        run = partial(_Sidecar, program)
        usual = run(work / "usual", routes, f"listen: {{ http: '127.0.0.1:{{http}}', h2c: true, {tls} }}\n")
        usual.work(LOADS, ["check", "health"])
        tracing = f"tracing: {{ sample: 1, otlp: {{ endpoint: 'http://127.0.0.1:{upstream.gateway}' }} }}\n"
        recorded = "listen: { http: '127.0.0.1:{http}' }\nlog: { format: json }\n" + tracing
        run(work / "recorded", routes, recorded, "inspect: {}").work([Load("/signed/small", 1_600)])
        many = {f"r{index}": _gateway(f"/service-{index}/*", upstream.gateway) for index in range(ROUTES)}
        silent = "listen: { http: '127.0.0.1:{http}' }\nlog: { access: false }\n"
        run(work / "many", many, silent).work([Load(f"/service-{ROUTES - 1}/small", 1_600)])
    finally:
        upstream.stop()


def _certificate(work: Path) -> tuple[Path, Path]:
    certificate, key = work / "certificate.pem", work / "key.pem"
    # not a CA: webpki refuses a CA as a server's certificate
    more = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=training", *more]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def _gateway(uri: str, port: int, authorization: str = KEYS, more: str = "") -> str:
    lines = f"  function_uri: http://127.0.0.1:{port}/prod\n  authorization: {authorization}\n"
    return f"uri: {uri}\napi_gateway:\n{lines}{more}"


def _lambda(uri: str, port: int, name: str, more: str = "") -> str:
    server = f"  host: 127.0.0.1\n  port: {port}\n  disable_https: true\n  aws_region: us-east-1\n"
    keys = "  aws_key: AKIDEXAMPLE\n  aws_secret: example\n"
    return f"uri: {uri}\nlambda:\n  function_name: {name}\n{server}{keys}{more}"


def _routes(upstream: Upstream, certificate: Path) -> dict[str, str]:
    function, proxy = upstream.function, "  awsgateway_compatible: true\n  is_proxy_integration: true\n"
    second = '  awsgateway_compatible_payload_version: "2.0"\n'
    forwarded = "".join(f"  forward_request_{part}: true\n" for part in ["method", "uri", "headers", "body"])
    secured = f"uri: /secured/*\napi_gateway:\n  function_uri: https://localhost:{upstream.secured}/prod\n"
    limits = "  max_req_body_size: 100KiB\n  retry: { attempts: 2 }\n"
    return {
        "signed": _gateway("/signed/*", upstream.gateway, more=limits),
        "secured": f"{secured}  authorization: {KEYS}\n  ca_certificate: {certificate}\n",
        "key": _gateway("/key/*", upstream.gateway, "{ apikey: example }"),
        "users": _gateway("/users/{id}/orders/{order}", upstream.gateway),
        "function": _lambda("/function", function, "hello", proxy),
        "function2": _lambda("/function2", function, "hello", proxy + second),
        "binary": _lambda("/binary", function, "binary", proxy),
        "plain": _lambda("/plain", function, "plain"),
        "forwarding": _lambda("/forwarding", function, "plain", forwarded),
        "failing": _lambda("/failing", function, "failing", "  unhandled_status: 502\n"),
        "streaming": _lambda("/streaming", function, "stream", "  invoke_mode: response_stream\n"),
    }


class _Sidecar:
    """The program with settings of its own, on free ports."""

    def __init__(self, program: Path, settings: Path, routes: dict[str, str], default: str, admin: str = "") -> None:
        self._program, self._settings = program, settings
        names = ["http", "https", "admin"]
        self._ports = dict(zip(names, free_ports(len(names))))
        (settings / "routes").mkdir(parents=True)
        for name, port in self._ports.items():
            default = default.replace(f"{{{name}}}", str(port))
        address = f"127.0.0.1:{self._ports['admin']}"
        # what `health` asks
        mine = {"AWS_EC2_METADATA_DISABLED": "true", "APIGW_INVOKER__ADMIN__ADDRESS": address}
        self._environment = os.environ | mine
        (settings / "default.yaml").write_text(f"{default}admin: {{ address: '{address}', {admin} }}\n")
        for name, text in routes.items():
            (settings / f"routes/{name}.yaml").write_text(text)

    def work(self, loads: list[Load], commands: Sequence[str] = ()) -> None:
        """Serves the loads, and lets the commands and the admin port answer meanwhile."""
        with (self._settings / "log").open("wb") as log:
            command = [self._program, "run", "--settings", self._settings]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        try:
            self._ready(process)
            asyncio.run(self._send(loads))
            for path in ["/metrics", "/metrics", "/", "/routes", "/ready"]:
                self._ask(path)
            for name in commands:
                self._command(name)
            route = next((self._settings / "routes").iterdir())
            route.write_text(route.read_text() + "max_in_flight: 1000\n")
            process.send_signal(signal.SIGHUP)
            self._logged("settings reloaded")
        finally:
            process.terminate()
            code = process.wait(60)
        if code:
            raise RuntimeError(f"{self._program} ended with {code}: {(self._settings / 'log').read_text()[-2000:]}")

    async def _send(self, loads: list[Load]) -> None:
        for load in loads:
            if load.is_http2:
                await http2.send(load, self._ports["http"])
            else:
                await client.send(load, self._ports["https" if load.is_secured else "http"])

    def _command(self, name: str) -> None:
        command = [self._program, name, "--settings", self._settings]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")

    def _ready(self, process: subprocess.Popen) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            try:
                return self._ask("/ready")
            except (OSError, RuntimeError):
                time.sleep(0.05)
        raise RuntimeError(f"it does not become ready: {(self._settings / 'log').read_text()[-2000:]}")

    def _ask(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["admin"], timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path} of the admin port is {response.status}")

    def _logged(self, text: str) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if text in (self._settings / "log").read_text():
                return
            time.sleep(0.05)
        raise RuntimeError(f"no line of the log has {text!r}")


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports
