"""Causes faults that an operator meets, one at a time, and searches the program's output for cause and cure.

Each breakage is a function that prepares it and returns the text of the place where an operator would look first.
Prints a table in Markdown; exits with 1 where a word that was expected is missing."""

import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

BINARY = os.path.abspath(sys.argv[1])
ONLY = sys.argv[2:]
HOME = pathlib.Path(tempfile.mkdtemp(prefix="breakages-"))
KEYS = "{ iam: { accesskey: AKIDEXAMPLE, secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY, aws_region: us-east-1 } }"
API_KEY = "an-api-key-of-at-least-20-characters"
BREAKAGES = []


def breakage(name, where, *words):
    """Registers a breakage: `words` are regular expressions, the cause before the cure."""

    def register(function):
        BREAKAGES.append((name, where, words, function))
        return function

    return register


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "APIGW_", "RUST_LOG"))}
    return {**kept, "HOME": str(HOME), "AWS_EC2_METADATA_DISABLED": "true", **extra}


class Sidecar:
    """The program with these settings; stopped at the end of the `with` block."""

    def __init__(self, routes, process="", env=None, log=None, wrapper=()):
        self.port, self.admin = free_port(), free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=HOME))
        write_settings(self.directory, routes, f"listen: {{ http: '127.0.0.1:{self.port}' }}\n"
                       f"admin: {{ address: '127.0.0.1:{self.admin}' }}\n" + process)
        self.log_path = self.directory / "log"
        target = log or open(self.log_path, "wb")
        command = [*wrapper, BINARY, "--settings", str(self.directory)]
        self.process = subprocess.Popen(command, stdout=target, stderr=target, env=environment(env or {}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def log(self, pattern=None):
        """The log, once a line matches the pattern."""
        deadline = time.monotonic() + 15
        while True:
            text = self.log_path.read_text(errors="replace")
            found = re.search(pattern or "admin port on", text)
            if found or time.monotonic() > deadline or self.process.poll() is not None:
                return text
            time.sleep(0.02)

    def get(self, path, port=None, timeout=15):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return f"{answer.status} {body}"

    def warnings_after(self, path):
        """Warnings and errors of the log, after a request."""
        self.log()
        self.get(path)
        return faults(self.log(r"WARN|ERROR"))


def faults(log):
    lines, keeps = [], False
    for line in log.splitlines():
        if line.startswith("["):
            keeps = " WARN " in line or "ERROR" in line
        if keeps:
            lines.append(line)
    return "\n".join(lines)


def write_settings(directory, routes, process):
    (directory / "routes").mkdir()
    (directory / "default.yaml").write_text(process)
    for name, text in routes.items():
        (directory / "routes" / f"{name}.yaml").write_text(text)


def log_and_connections(routes):
    """The log lines of a call, and the output of `check --connect` for its route."""
    with Sidecar(routes) as sidecar:
        said = sidecar.warnings_after("/orders")
    return f"{said} / {check(routes, '--connect')}"


def gateway(uri, rest=""):
    return {"orders": f"uri: /orders*\napi_gateway:\n  function_uri: {uri}\n{rest}"}


def check(routes, *arguments, process="", env=None):
    directory = pathlib.Path(tempfile.mkdtemp(dir=HOME))
    write_settings(directory, routes, process)
    command = [BINARY, "check", "--settings", str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(env or {}), timeout=60)
    return f"{done.stdout}{done.stderr}exit code {done.returncode}"


class StandIn:
    """`apigw-invoker dev`, for its stand-in for AWS only."""

    def __init__(self, *arguments):
        self.port = free_port()
        command = [BINARY, "dev", "--listen", f"127.0.0.1:{free_port()}", "--stand-in", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env=environment({}))
        wait_for(self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def wait_for(port):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


class TlsServer:
    """An HTTPS server with a certificate of its own authority, or without TLS."""

    def __init__(self, name="localhost", days=30, is_plain=False):
        self.authority, certificate, key = certificates(name, days)
        handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {
            "do_GET": lambda self: (self.send_response(200), self.end_headers()),
            "log_message": lambda *_: None,
        })
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.handle_error = lambda *_: None
        if not is_plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def certificates(name, days):
    """Paths of an authority's certificate, a server's certificate and its key. Negative days: it has expired."""
    directory = pathlib.Path(tempfile.mkdtemp(dir=HOME))

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=Test authority", "-days", "3650")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", f"/CN={name}")
    (directory / "names").write_text(f"subjectAltName=DNS:{name}\n")
    # `openssl x509` takes no date of the past, `openssl ca` does
    (directory / "index.txt").write_text("")
    (directory / "serial").write_text("01")
    (directory / "ca.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
        "policy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n")
    moment = lambda seconds: time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
    openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "request.pem",
            "-out", "certificate.pem", "-extfile", "names", "-notext",
            "-startdate", moment(-90 * 86400), "-enddate", moment(days * 86400))
    return directory / "ca.pem", directory / "certificate.pem", directory / "key.pem"


WHERE = "log / `check --connect`"


@breakage("The upstream is down", WHERE, r"connection refused", r"a server listens there", r"exit code 1")
def upstream_down():
    return log_and_connections(gateway(f"http://127.0.0.1:{free_port()}/prod"))


@breakage("Its name does not resolve", WHERE, r"cannot resolve no-such-api\.invalid", r"Correct the host name", r"exit code 1")
def dns():
    return log_and_connections(gateway("https://no-such-api.invalid/prod"))


@breakage("TLS: the certificate is for another name", WHERE, r"for another\.example", r"Correct the host", r"exit code 1")
def tls_name():
    with TlsServer("another.example") as server:
        rest = f"  ca_certificate: {server.authority}\n"
        return log_and_connections(gateway(f"https://localhost:{server.port}/prod", rest))


@breakage("TLS: an unknown authority", WHERE, r"authority", r"ca_certificate", r"exit code 1")
def tls_authority():
    with TlsServer() as server:
        return log_and_connections(gateway(f"https://localhost:{server.port}/prod"))


@breakage("TLS: an expired certificate", WHERE, r"expired on", r"replace the certificate", r"exit code 1")
def tls_expired():
    with TlsServer(days=-1) as server:
        rest = f"  ca_certificate: {server.authority}\n"
        return log_and_connections(gateway(f"https://localhost:{server.port}/prod", rest))


@breakage("TLS: the port speaks plain HTTP", WHERE, r"did not answer with TLS", r"http://|host and port", r"exit code 1")
def tls_plain():
    with TlsServer(is_plain=True) as server:
        return log_and_connections(gateway(f"https://localhost:{server.port}/prod"))


def refused(fault, path="/iam/echo"):
    with StandIn("--fault", fault) as stand_in:
        with Sidecar(gateway(f"http://127.0.0.1:{stand_in.port}{path}", f"  authorization: {KEYS}\n")) as sidecar:
            return sidecar.warnings_after("/orders")


@breakage("The wrong region", "log", r"region", r"aws_region")
def wrong_region():
    return refused("region")


@breakage("The wrong secret", "log", r"secret", r"secretkey|secret key")
def wrong_secret():
    return refused("secret")


@breakage("A key id that AWS does not know", "log", r"AKIDEXAMPLE|access key", r"not known|does not know|deleted|exist|token")
def wrong_key():
    return refused("key")


@breakage("The wrong API key", "log", r"API key|x-api-key|apikey", r"usage plan|stage")
def wrong_api_key():
    with StandIn() as stand_in:
        rest = "  authorization: { apikey: a-wrong-key-that-nobody-knows }\n"
        with Sidecar(gateway(f"http://127.0.0.1:{stand_in.port}/key/hello", rest)) as sidecar:
            return sidecar.warnings_after("/orders")


@breakage("The clock is wrong", "log", r"clock", r"ahead|behind|NTP|minutes|set")
def clock():
    return refused("clock")


@breakage("The function is slow", "log", r"timeout|timed out|time", r"timeout")
def slow_function():
    with StandIn() as stand_in:
        rest = "  timeout: 200ms\n"
        with Sidecar(gateway(f"http://127.0.0.1:{stand_in.port}/open/slow/3000", rest)) as sidecar:
            return sidecar.warnings_after("/orders")


def beyond_limit(rest, process):
    with StandIn() as stand_in:
        with Sidecar(gateway(f"http://127.0.0.1:{stand_in.port}/open/slow/3000", rest), process) as sidecar:
            sidecar.log()
            first = threading.Thread(target=sidecar.get, args=("/orders",))
            first.start()
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not sidecar.get("/orders").startswith("503"):
                pass
            first.join()
            return faults(sidecar.log(r"WARN|ERROR"))


@breakage("The route's limit of requests in flight", "log", r"in flight", r"max_in_flight")
def route_limit():
    return beyond_limit("max_in_flight: 1\n", "")


@breakage("The process's limit of requests in flight", "log", r"in flight", r"limits\.max_in_flight")
def process_limit():
    return beyond_limit("", "limits: { max_in_flight: 1 }\n")


@breakage("A typing error in the settings", "check", r"fuction_uri", r"did you mean `?function_uri", r"orders\.yaml")
def typing_error():
    return check({"orders": "uri: /orders*\napi_gateway:\n  fuction_uri: https://api.example.com/prod\n"})


@breakage("A secret's file is gone", "log", r"gone/secret", r"No such file|does not exist|not found")
def secret_gone():
    routes = gateway("https://x.execute-api.us-east-1.amazonaws.com/prod",
                     "  authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: $file:///gone/secret } }\n")
    with Sidecar(routes) as sidecar:
        return sidecar.log("orders")


@breakage("No source has keys", "/ready", r"credential|keys", r"accesskey|profile|role|AWS_")
def no_source():
    with Sidecar(gateway("https://x.execute-api.us-east-1.amazonaws.com/prod", "  authorization: { iam: {} }\n")) as sidecar:
        sidecar.log()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            ready = sidecar.get("/ready", sidecar.admin)
            if "keys" in ready or "credential" in ready:
                break
        return ready


@breakage("The sidecar's own certificate has expired", "check", r"listen\.https\.certificate expired", r"replace the file")
def own_certificate():
    _, certificate, key = certificates("localhost", -1)
    process = f"listen: {{ https: {{ address: '127.0.0.1:0', certificate: {certificate}, key: {key} }} }}\n"
    return check(gateway("https://x.execute-api.us-east-1.amazonaws.com/prod"), process=process)


@breakage("The log is full", "/metrics", r"apigw_invoker_log_lines_dropped_total [1-9]|log_\w*dropped\w* [1-9]")
def log_full():
    with open("/dev/full", "wb") as full:
        with Sidecar(gateway(f"http://127.0.0.1:{free_port()}/prod"), log=full) as sidecar:
            wait_for(sidecar.admin)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                sidecar.get("/orders")
                metrics = sidecar.get("/metrics", sidecar.admin)
                dropped = "\n".join(line for line in metrics.splitlines() if "dropped" in line)
                if re.search(r"log\w*dropped\w* [1-9]", dropped):
                    break
            return dropped


@breakage("No descriptors are left", "log", r"files", r"ulimit -n|LimitNOFILE")
def no_descriptors():
    wrapper = ("sh", "-c", 'ulimit -n 60; exec "$0" "$@"')
    with Sidecar(gateway(f"http://127.0.0.1:{free_port()}/prod"), wrapper=wrapper) as sidecar:
        return sidecar.log("WARN|ERROR|ulimit")


@breakage("The admin port is taken", "log", r"in use", r"change admin\.address")
def admin_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        directory = pathlib.Path(tempfile.mkdtemp(dir=HOME))
        write_settings(directory, gateway("http://127.0.0.1:9/prod"),
                       f"listen: {{ http: '127.0.0.1:0' }}\nadmin: {{ address: '{address}' }}\n")
        command = [BINARY, "--settings", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment({}), timeout=30)
        return f"{done.stderr}{done.stdout}exit code {done.returncode}"


def main():
    missing = 0
    print("| breakage | where | what is said |\n| --- | --- | --- |")
    for name, where, words, function in BREAKAGES:
        if ONLY and not any(part in function.__name__ for part in ONLY):
            continue
        said = function()
        absent = [word for word in words if not re.search(word, said)]
        missing += bool(absent)
        shown = " ".join(said.split())
        print(f"| {name} | {where} | {shown[:900]}{' **MISSING: ' + ', '.join(absent) + '**' if absent else ''} |", flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    return 1 if missing else 0


sys.exit(main())
