"""Sends random requests through the sidecar and signs what arrives behind it with botocore and awscrt.

A request that the sidecar sends must carry the signature that both signers give the very bytes that arrived. One that
it refuses must be refused for its path.
"""

import argparse
import datetime
import json
import random
import re
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from signers import SECRET_ACCESS_KEY, Wire, by_awscrt, by_botocore
from table import signed, strict

TOKEN = "tok/en+1=="
NAMES = ["a", "b", "caf%C3%A9", "x y".replace(" ", "%20"), "~", "-._", "a%2Fb", "%2f", "%00", "%FF", "%25", "%2541"]
DOTS = ["", "", ".", "..", "...", ".a", "a..", "%2e", "%2E%2e", "..;", ";", "a;b=c", "%5C", "\\", "..%5C", "a%5C..%5Cb"]
MARKS = ["!", "$", "&", "'", "(", ")", "*", "+", ",", "=", ":", "@", "^", "{", "}", "|", '"', "[", "]", "é", "€", "<", ">"]
QUERY = ["a", "b", "a", "A", "a-", "a.", "0", "=", "=", "&", "&", "+", "%20", "%2B", "%26", "%3D", "%00", "%FF", "?", "/"]
QUERY += ["X-Amz-Signature=a&", "x-amz-expires=1&", "X-Amz-Meta=1&", "%58-Amz-Date=1&", "%c3%a9", "%7e", "~", *MARKS]
VALUE = ["a", "b", " ", "  ", "\t", '"', ",", ";", "=", "é", "\\", "form-data; name=", "\u2003", "\u00a0", "%20"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "REPORT", "get", "M-SEARCH", "P~!"]
HEADERS = ["content-type", "Content-Type", "x-amz-a", "X-Amz-A", "x-amz-a-b", "x-amz-meta_b", "x-amz-target", "x-amz-~!"]
OTHERS = [
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ("X-Amz-Content-Sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("x-amz-date", "20200101T000000Z"),
    ("x-amz-security-token", "theirs"),
    ("connection", "x-amz-a, content-type"),
    ("date", "Tue, 01 Jan 2030 00:00:00 GMT"),
    ("cookie", "a=1"),
    ("x-api-key", "theirs"),
    ("x-amzn-trace-id", "Root=1"),
    ("user-agent", "a"),
]


class Upstream(threading.Thread):
    """Answers every request, and keeps the last one as it arrived."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.arrived: tuple[bytes, bytes] | None = None

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while head := read_head(stream):
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = stream.read(int(length[1])) if length else b""
            self.arrived = (head, body)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def read_head(stream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head


class Sidecar:
    """The binary with two signed routes to the upstream, of which the second has `client_authorization: pass`."""

    def __init__(self, binary: Path, upstream: Upstream) -> None:
        self.directory = tempfile.TemporaryDirectory()
        routes = Path(self.directory.name) / "routes"
        routes.mkdir()
        listen = "listen: { http: '127.0.0.1:0' }\nadmin: { address: '127.0.0.1:0' }\nlog: { access: false }\n"
        (routes.parent / "default.yaml").write_text(listen)
        keys = f"accesskey: AKIDEXAMPLE, secretkey: {SECRET_ACCESS_KEY}"
        for name, more, rest in [("s", "", ""), ("p", f", session_token: {TOKEN}", "\n  client_authorization: pass")]:
            uri = f"http://{upstream.address}/prod/x?base=a/b+c"
            (routes / f"{name}.yaml").write_text(
                f"uri: /{name}/*\napi_gateway:\n  function_uri: {uri}\n"
                f"  authorization: {{ iam: {{ {keys}{more} }} }}{rest}\n"
            )
        command = [binary, "run", "--settings", self.directory.name]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on ([\d.]+):(\d+)", line):
                self.address = (found[1], int(found[2]))
                break
        else:
            raise SystemExit("the sidecar does not listen")
        # an unread pipe would block it
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


def request(choose: random.Random) -> bytes:
    """A request as a client may write it."""

    def text(pieces: list[str], most: int) -> str:
        return "".join(choose.choices(pieces, k=choose.randint(0, most)))

    segments = [choose.choice([choose.choice(DOTS), text(NAMES + MARKS, 3)]) for _ in range(choose.randint(0, 6))]
    target = f"/{choose.choice('sp')}/" + "/".join(segments)
    if choose.random() < 0.6:
        target += "?" + text(QUERY, 8)
    lines = [(choose.choice(HEADERS), text(VALUE, 6)) for _ in range(choose.randint(0, 4))]
    lines += choose.sample(OTHERS, choose.randint(0, 3))
    body = choose.randbytes(choose.choice([0, 0, 1, 100]))
    if body:
        lines.append(("content-length", str(len(body))))
    head = [f"{choose.choice(METHODS)} {target} HTTP/1.1", "host: localhost"]
    head += [f"{name}: {value}" for name, value in lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def exchange(address: tuple[str, int], sent: bytes) -> tuple[int, str]:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(sent)
        stream = connection.makefile("rb")
        head = read_head(stream)
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        body = stream.read(int(length[1])) if length and not sent.startswith(b"HEAD") else b""
    return int(head.split()[1]), json.loads(body)["code"] if body else ""


def lines_of(head: bytes) -> tuple[list[str], list[tuple[str, str]]]:
    first, *lines = head.decode().split("\r\n")
    pairs = [line.split(":", 1) for line in lines if line]
    return first.split(" "), [(name.lower(), value.removeprefix(" ")) for name, value in pairs]


def differences(arrived: tuple[bytes, bytes]) -> list[str]:
    """Requests for which both signers send another signature."""
    head, body = arrived
    (method, target, _), headers = lines_of(head)
    only = {name: value for name, value in headers}
    ours, time = only["authorization"], only["x-amz-date"]
    wire = Wire(
        method,
        target,
        only["host"],
        signed(headers),
        body,
        session_token=only.get("x-amz-security-token"),
        time=datetime.datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc),
    )
    found = []
    if target != strict(target):
        found.append(f"the query is not strict: {target}")
    if "x-amz-content-sha256" in only:
        found.append("a payload hash went out")
    canonical, botocore = by_botocore(wire)
    # botocore differs where golden.json says so; awscrt takes what is before `:/` for a scheme, in a path too
    theirs = {} if ":/" in target else {"awscrt": by_awscrt(wire)}
    if method == method.upper() and not any(re.search("[\u00a0\u2003]", value) for _, value in wire.headers):
        theirs["botocore"] = botocore
    for signer, signature in theirs.items():
        if signature != ours:
            found.append(f"{signer}: {signature}\nours: {ours}\n{canonical}")
    return found


def kept(sent: bytes, arrived: tuple[bytes, bytes]) -> list[str]:
    """Values of signed headers that did not arrive as they were sent."""
    (_, before), (_, after) = lines_of(sent.partition(b"\r\n\r\n")[0]), lines_of(arrived[0])
    nominated = any(name == "connection" for name, _ in before)
    found = []
    for name in {name for name, _ in before if name == "content-type" or name.startswith("x-amz-")}:
        if name in {"x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}:
            continue
        if nominated and name in {"x-amz-a", "content-type"}:
            continue
        was = [value.strip(" \t") for own, value in before if own == name]
        now = [value for own, value in after if own == name]
        if was != now:
            found.append(f"{name}: {was} became {now}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    upstream = Upstream()
    upstream.start()
    sidecar = Sidecar(options.search, upstream)
    statuses: dict[tuple[int, str], int] = {}
    try:
        for number in range(options.requests):
            sent = request(choose)
            upstream.arrived = None
            answer = exchange(sidecar.address, sent)
            statuses[answer] = statuses.get(answer, 0) + 1
            if upstream.arrived:
                found = differences(upstream.arrived) + kept(sent, upstream.arrived)
            else:
                # a response to HEAD has no error code
                code = "" if sent.startswith(b"HEAD ") else "invalid_path"
                found = [] if answer == (400, code) else [f"answered {answer}"]
            if found:
                raise SystemExit(f"request {number} of seed {options.seed}: {sent!r}\n" + "\n".join(found))
    finally:
        sidecar.stop()
    print(f"{options.requests} requests of seed {options.seed}: {statuses}")


main()
