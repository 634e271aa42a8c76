"""The sidecar behind nginx and haproxy, and what reaches its upstream and its access log.

Clients have the address 127.0.0.7, proxies 127.0.0.1, so that the one is told from the other on the loopback. Everything
that is made is in target/hops. Ends with 1 on a difference.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from comparison import compare, exit_code  # noqa: E402

WORK = Path(__file__).resolve().parents[2] / "target/hops"
CLIENT, PROXY = "127.0.0.7", "127.0.0.1"
SPOOFED = [
    "X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: ftp", "X-Forwarded-Host: spoofed.example",
    "X-Forwarded-Port: 1", "Forwarded: for=198.51.100.1",
]
# ports: nginx plain, with TLS, over the Unix socket, before haproxy, with the PROXY protocol;
# haproxy before the sidecar, before nginx, with the PROXY protocol 1 and 2
N_PLAIN, N_TLS, N_UNIX, N_CHAIN, N_PROXY, H_PLAIN, H_CHAIN, H_V1, H_V2 = range(19480, 19489)
NAMES = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"]


def end(message: str) -> None:
    sys.exit(f".ci/hops/run: {message}")


def eventually(what: str, is_true) -> None:
    for _ in range(200):
        if is_true():
            return
        time.sleep(0.05)
    end(f"not so within ten seconds: {what}")


class Upstream(ThreadingHTTPServer):
    """Remembers the headers of the last request."""

    def __init__(self) -> None:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                upstream.seen = {name: self.headers.get_all(name) for name in NAMES}
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: dict = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Sidecar:
    def __init__(self, binary: Path, name: str, upstream: Upstream, listen: str) -> None:
        settings = WORK / name
        (settings / "routes").mkdir(parents=True)
        url = f"http://127.0.0.1:{upstream.server_port}/"
        (settings / "routes/all.yaml").write_text(f"uri: /*\napi_gateway: {{ function_uri: '{url}' }}\n")
        (settings / "default.yaml").write_text(
            f"listen: {{ http: 127.0.0.1:0, {listen} }}\nadmin: {{ address: 127.0.0.1:0 }}\nlog: {{ format: json }}\n"
        )
        self.log = WORK / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([binary, "run", "--settings", settings], stderr=log)
        eventually(f"the sidecar {name} listens", lambda: self._port() or self.process.poll() is not None)
        if self.process.poll() is not None:
            end(self.log.read_text())
        self.port = int(self._port()[1])

    def _port(self) -> re.Match | None:
        return re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text())

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def access(self) -> list[dict]:
        return [line for line in self.lines() if line["target"] == "access"]


def nginx(plain: Sidecar, proxied: Sidecar, socket: Path) -> str:
    told = """
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header Forwarded "";"""
    # the ingress controller replaces a client's own list unless it is told to trust it
    real = told.replace("$proxy_add_x_forwarded_for", "$remote_addr")
    server = lambda listen, inside: f"  server {{ listen 127.0.0.1:{listen}; location / {{ {inside} }} }}\n"  # noqa: E731
    return f"""
user root; daemon off; pid {WORK}/nginx.pid; error_log {WORK}/nginx.error.log; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {WORK}/body; proxy_temp_path {WORK}/proxy; fastcgi_temp_path {WORK}/fastcgi;
  uwsgi_temp_path {WORK}/uwsgi; scgi_temp_path {WORK}/scgi; proxy_http_version 1.1;
  proxy_bind 127.0.0.1;
  ssl_certificate {WORK}/certificate.pem; ssl_certificate_key {WORK}/key.pem;
{server(N_PLAIN, f"{told} proxy_pass http://127.0.0.1:{plain.port};")}
{server(f"{N_TLS} ssl", f"{real} proxy_pass http://127.0.0.1:{plain.port};")}
{server(N_UNIX, f"{told} proxy_bind off; proxy_pass http://unix:{socket};")}
{server(N_CHAIN, f"{told} proxy_pass http://127.0.0.1:{H_PLAIN};")}
}}
stream {{
  server {{ listen 127.0.0.1:{N_PROXY}; proxy_bind 127.0.0.1; proxy_protocol on; proxy_pass 127.0.0.1:{proxied.port}; }}
}}
"""


def haproxy(plain: Sidecar, proxied: Sidecar) -> str:
    def proxy(name: str, port: int, mode: str, server: str) -> str:
        forwardfor = "option forwardfor" if mode == "http" else ""
        return f"""
listen {name}
  bind 127.0.0.1:{port}
  mode {mode}
  {forwardfor}
  server {name} {server} source 127.0.0.1
"""

    return f"""
global
  maxconn 100
defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{proxy("plain", H_PLAIN, "http", f"127.0.0.1:{plain.port}")}
{proxy("chain", H_CHAIN, "http", f"127.0.0.1:{N_PLAIN}")}
{proxy("v1", H_V1, "tcp", f"127.0.0.1:{proxied.port} send-proxy")}
{proxy("v2", H_V2, "tcp", f"127.0.0.1:{proxied.port} send-proxy-v2 check check-send-proxy inter 200")}
"""


def curl(url: str, *arguments: str) -> str:
    command = ["curl", "--silent", "--insecure", "--max-time", "10", "--interface", CLIENT]
    done = subprocess.run([*command, *arguments, "--write-out", "|%{http_code}", url], stdout=subprocess.PIPE, text=True)
    return done.stdout


def headers(lines: list[str]) -> list[str]:
    return [argument for line in lines for argument in ("--header", line)]


def try_hop(name: str, url: str, sidecar: Sidecar, upstream: Upstream, expected: dict, client: str | None) -> None:
    """A call with spoofed headers: what reaches the upstream, and the client of the access log."""
    before = len(sidecar.access())
    compare(f"{name}: answer", curl(url, *headers(SPOOFED)), "ok|200")
    expected = {name: [expected[name]] if expected.get(name) else None for name in NAMES}
    compare(f"{name}: headers", upstream.seen, expected)
    eventually("the access log has a line", lambda: len(sidecar.access()) > before)
    compare(f"{name}: client_ip", sidecar.access()[-1].get("client_ip"), client)


def told(of: str, proto: str, host: str, port: int, forwarded: str | None = None) -> dict:
    return dict(zip(NAMES, [of, proto, host, str(port), forwarded]))


def try_all(plain: Sidecar, closed: Sidecar, proxied: Sidecar, upstream: Upstream) -> None:
    at = lambda port: f"127.0.0.1:{port}"  # noqa: E731
    spoofed = "198.51.100.1"
    try_hop("no trusted proxy", f"http://{at(closed.port)}/", closed, upstream,
            told(CLIENT, "http", at(closed.port), closed.port), CLIENT)
    try_hop("nginx", f"http://{at(N_PLAIN)}/", plain, upstream,
            told(f"{spoofed}, {CLIENT}, {PROXY}", "http", at(N_PLAIN), N_PLAIN), CLIENT)
    try_hop("nginx ends TLS", f"https://{at(N_TLS)}/", plain, upstream,
            told(f"{CLIENT}, {PROXY}", "https", at(N_TLS), N_TLS), CLIENT)
    try_hop("nginx, Unix socket", f"http://{at(N_UNIX)}/", plain, upstream,
            told(f"{spoofed}, {CLIENT}", "http", at(N_UNIX), N_UNIX), CLIENT)
    # haproxy passes on what it is not told to replace, so its own word is the address alone
    by_haproxy = f"198.51.100.1, {CLIENT}, {PROXY}"
    try_hop("haproxy", f"http://{at(H_PLAIN)}/", plain, upstream,
            told(by_haproxy, "ftp", "spoofed.example", 1, "for=198.51.100.1"), CLIENT)
    try_hop("nginx, then haproxy", f"http://{at(N_CHAIN)}/", plain, upstream,
            told(f"{spoofed}, {CLIENT}, {PROXY}, {PROXY}", "http", at(N_CHAIN), N_CHAIN), CLIENT)
    try_hop("haproxy, then nginx", f"http://{at(H_CHAIN)}/", plain, upstream,
            told(f"{spoofed}, {CLIENT}, {PROXY}, {PROXY}", "http", at(H_CHAIN), N_PLAIN), CLIENT)
    for name, port in [("nginx, PROXY 1", N_PROXY), ("haproxy, PROXY 1", H_V1), ("haproxy, PROXY 2", H_V2)]:
        try_hop(name, f"http://{at(port)}/", proxied, upstream,
                told(CLIENT, "http", at(port), proxied.port), CLIENT)
    check = [line["message"] for line in proxied.lines() if "PROXY" in line["message"]]
    compare("haproxy's health checks leave no line", check, [])
    compare("no PROXY header", curl(f"http://{at(proxied.port)}/"), "|000")
    compare("no PROXY header from a proxy", curl(f"http://{at(proxied.port)}/", "--interface", PROXY), "|000")
    reasons = lambda: [  # noqa: E731
        re.sub(r"\S+:\d+: ", "ADDRESS: ", line["message"])
        for line in proxied.lines()
        if line["message"].startswith("closing")
    ]
    eventually("the log has both lines", lambda: len(reasons()) == 2)
    compare("their lines", reasons(), [
        "closing the connection of ADDRESS: listen.proxy_protocol accepts only listen.trusted_ips",
        "closing the connection of ADDRESS: no header of the PROXY protocol, which listen.proxy_protocol requires",
    ])


def main() -> None:
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        end("takes one argument, the path of the binary: .ci/hops/run target/debug/apigw-invoker")
    binary = Path(sys.argv[1]).resolve()
    os.environ["PATH"] += ":/usr/sbin"
    for tool in ["nginx", "haproxy", "curl", "openssl"]:
        if shutil.which(tool) is None:
            end(f"{tool} is missing")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", WORK / "key.pem", "-out", WORK / "certificate.pem"]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    upstream = Upstream()
    socket = WORK / "sidecar.sock"
    running = []
    try:
        for name, listen in [
            ("plain", f"trusted_ips: [{PROXY}, 'unix:'], unix: {socket}"),
            ("closed", "trusted_ips: [10.0.0.0/8]"),
            ("proxied", f"trusted_ips: [{PROXY}], proxy_protocol: true"),
        ]:
            running.append(Sidecar(binary, name, upstream, listen))
        plain, closed, proxied = running
        (WORK / "nginx.conf").write_text(nginx_modules() + nginx(plain, proxied, socket))
        (WORK / "haproxy.cfg").write_text(haproxy(plain, proxied))
        proxies = [["nginx", "-p", WORK, "-c", WORK / "nginx.conf"], ["haproxy", "-db", "-f", WORK / "haproxy.cfg"]]
        for command in proxies:
            with (WORK / f"{command[0]}.log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
            running.append(type("Proxy", (), {"process": process})())
        for port in [N_PLAIN, N_PROXY, H_PLAIN, H_V2]:
            eventually(f"port {port} is open", lambda port=port: curl(f"http://127.0.0.1:{port}/") == "ok|200")
        try_all(plain, closed, proxied, upstream)
    finally:
        for one in running:
            one.process.terminate()
            one.process.wait()
    sys.exit(exit_code())


def nginx_modules() -> str:
    """Debian has `stream` as a module of its own."""
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    return f"load_module {module};\n" if module.exists() else ""


main()
