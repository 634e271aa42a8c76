"""The trials of `run`."""

import http.server
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

sys.path.append(str(Path(__file__).resolve().parents[1]))
from comparison import compare, exit_code  # noqa: E402

BINARY, WORK = Path(sys.argv[1]), Path(sys.argv[2])
INTERVAL = 1.0
# the time that a machine under load needs besides the two intervals
GRACE = 0.5
LOSS = 10.0
SIDECARS = 3
BUCKET, KEY = "settings", "team/settings.tar.gz"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Upstream(Quiet):
    """Answers with its path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serving(handler: object, port: int = 0) -> http.server.ThreadingHTTPServer:
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def bundle(version: int, upstream: int) -> bytes:
    files = {
        "default.yaml": f"listen: {{ http: '127.0.0.1:0' }}\nlog: {{ access: false }}\n"
        f"reload: {{ interval: {int(INTERVAL * 1000)}ms }}\n",
        "routes/a.yaml": f"uri: /a\napi_gateway: {{ function_uri: 'http://127.0.0.1:{upstream}/{version}' }}\n",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


class Sidecar:
    """A sidecar with a client that calls it all the time."""

    def __init__(self, name: str, address: str, environment: dict[str, str]) -> None:
        cache = WORK / "caches" / name
        self.log = WORK / f"{name}.log"
        plain = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        self.process = subprocess.Popen(
            [BINARY, "--settings", address, "--settings-cache", cache],
            stderr=self.log.open("w"),
            env={**plain, "APIGW_INVOKER__ADMIN__ADDRESS": "127.0.0.1:0", **environment},
        )
        self.url = f"http://{self.logged('listening on ([^,]+),')}/a"
        self.admin = f"http://{self.logged('admin port on (.+)')}"
        self.failed, self.requests, self.is_over = [], 0, False
        self.client = threading.Thread(target=self.call, daemon=True)
        self.client.start()

    def logged(self, pattern: str) -> str:
        for _ in range(200):
            found = re.search(pattern, self.log.read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        sys.exit(f"{pattern} is not in {self.log}: {self.log.read_text()}")

    def version(self) -> str:
        return urllib.request.urlopen(self.url, timeout=10).read().decode()

    def call(self) -> None:
        while not self.is_over:
            try:
                self.version()
                self.requests += 1
            except (OSError, urllib.error.URLError) as error:
                self.failed.append(str(error))
            time.sleep(0.01)

    def source(self) -> dict[str, object]:
        return json.load(urllib.request.urlopen(f"{self.admin}/ready"))["settings"]["source"]

    def end(self) -> int:
        self.is_over = True
        self.client.join()
        self.process.terminate()
        return self.process.wait(timeout=40)


def taken(sidecars: list[Sidecar], version: int) -> bool:
    """True if all sidecars use the version within two intervals."""
    until = time.monotonic() + 2 * INTERVAL + GRACE
    while time.monotonic() < until:
        if all(sidecar.version() == f"/{version}" for sidecar in sidecars):
            return True
        time.sleep(0.02)
    return False


def trial(name: str, sidecars: list[Sidecar], put, lose, restore, upstream: int) -> None:
    compare(f"{name}: the first bundle", [sidecar.version() for sidecar in sidecars], ["/1"] * SIDECARS)
    for version in range(2, 7):
        put(bundle(version, upstream))
        compare(f"{name}: change {version} is used within two intervals", taken(sidecars, version), True)
    for garbage in [b"<html></html>", bundle(7, upstream)[:150]]:
        put(garbage)
        time.sleep(1.5 * INTERVAL)
        errors = [bool(sidecar.source()["error"]) for sidecar in sidecars]
        compare(f"{name}: garbage is an error", errors, [True] * SIDECARS)
        compare(f"{name}: and changes nothing", taken(sidecars, 6), True)
    lose()
    time.sleep(LOSS)
    compare(f"{name}: the last bundle serves while the source is lost", taken(sidecars, 6), True)
    states = [urllib.request.urlopen(f"{sidecar.admin}/ready").status for sidecar in sidecars]
    compare(f"{name}: /ready", states, [200] * SIDECARS)
    restore()
    put(bundle(8, upstream))
    compare(f"{name}: the next change is used within two intervals", taken(sidecars, 8), True)
    compare(f"{name}: failed requests", sum((sidecar.failed for sidecar in sidecars), []), [])
    print(f"         {sum(sidecar.requests for sidecar in sidecars)} requests", flush=True)
    compare(f"{name}: exit codes", [sidecar.end() for sidecar in sidecars], [0] * SIDECARS)


def on_a_web_server(upstream: int) -> None:
    directory = WORK / "web"
    directory.mkdir()

    def put(content: bytes) -> None:
        (directory / "new").write_bytes(content)
        (directory / "new").rename(directory / "settings.tar.gz")

    handler = lambda *arguments: Quiet(*arguments, directory=directory)  # noqa: E731
    put(bundle(1, upstream))
    servers = [serving(handler)]
    port = servers[0].server_port

    def lose() -> None:
        servers[0].shutdown()
        servers[0].server_close()

    def restore() -> None:
        servers[0] = serving(handler, port)

    address = f"http://127.0.0.1:{port}/settings.tar.gz"
    sidecars = [Sidecar(f"web-{number}", address, {}) for number in range(SIDECARS)]
    trial("http.server", sidecars, put, lose, restore, upstream)


def on_s3(upstream: int) -> None:
    servers = [ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)]
    servers[0].start()
    _, port = servers[0].get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
    client = boto3.client(
        "s3", endpoint_url=url, region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def put(content: bytes) -> None:
        client.put_object(Bucket=BUCKET, Key=KEY, Body=content)

    def lose() -> None:
        servers[0].stop()

    def restore() -> None:
        # moto keeps its buckets in the process
        servers[0] = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        servers[0].start()

    put(bundle(1, upstream))
    environment = {**keys, "AWS_ENDPOINT_URL_S3": url}
    sidecars = [Sidecar(f"s3-{number}", f"s3://{BUCKET}/{KEY}", environment) for number in range(SIDECARS)]
    trial("S3 of moto", sidecars, put, lose, restore, upstream)


def main() -> None:
    for name in ("web", "caches"):
        shutil.rmtree(WORK / name, ignore_errors=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    upstream = serving(Upstream).server_port
    on_a_web_server(upstream)
    on_s3(upstream)
    sys.exit(exit_code())


main()
