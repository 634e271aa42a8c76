"""The trials of `run`."""

import asyncio
import io
import json
import logging
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import aws_secrets
import boto3
import cramjam
import uvicorn
from botocore import UNSIGNED
from botocore.config import Config
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from moto.server import ThreadedMotoServer
from openai import OpenAI
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk
from verifier import ID, LARGE_SIZE, SECRET, SILENCE, TOKEN, Verifier

sys.path.append(str(Path(__file__).resolve().parents[1]))
from comparison import compare, exit_code  # noqa: E402

BINARY, WORK = Path(sys.argv[1]), Path(sys.argv[2])
EXAMPLES = Path(__file__).resolve().parents[2] / "k8s/examples/services/settings/routes"
# the services, with the `payload` of each
SERVICES = [
    ("s3", "unsigned"), ("s3", "signed"), ("s3-outposts", "signed"), ("s3-object-lambda", "unsigned"),
    ("aoss", None), ("glacier", None), ("vpc-lattice-svcs", None), ("execute-api", None), ("lambda", None),
    ("es", None), ("es", "unsigned"), ("aps", None), ("appsync", None), ("bedrock", None), ("bedrock-mantle", None),
    ("bedrock-agentcore", None),
]
MAX_RESIDENT = 40 << 10


def example_routes(directory: Path, upstream: str) -> None:
    """The routes of k8s/examples/services, with the upstream as their host, its region and its keys."""
    for file in EXAMPLES.glob("*.yaml"):
        text = re.sub(r"(function_uri: )https://[^/{\s]+", rf"\1http://{upstream}", file.read_text())
        text = re.sub(r"aws_region: [\w-]+", "aws_region: us-east-1", text)
        keys = f"accesskey: {ID}, secretkey: {SECRET}, session_token: {TOKEN}"
        (directory / file.name).write_text(re.sub(r"iam: \{ *", f"iam: {{ {keys}, ", text))


class Sidecar:
    """The binary with a route for each service, which the client's host names, or with the examples."""

    def __init__(self, upstream: str, of_examples: bool = False) -> None:
        settings = WORK / ("examples" if of_examples else "settings")
        (settings / "routes").mkdir(parents=True, exist_ok=True)
        for old in (settings / "routes").iterdir():
            old.unlink()
        if of_examples:
            example_routes(settings / "routes", upstream)
        else:
            self._service_routes(settings, upstream)
        self._start(settings)

    @staticmethod
    def _service_routes(settings: Path, upstream: str) -> None:
        for service, payload in SERVICES:
            iam = f"accesskey: {ID}, secretkey: {SECRET}, session_token: {TOKEN}, service: {service}"
            iam += f", payload: {payload}" if payload else ""
            limit = "none" if payload == "unsigned" else "64MiB"
            name = f"{service}-{payload or 'default'}"
            (settings / f"routes/{name}.yaml").write_text(
                f"uri: /*\nhosts: [{name}.localhost{', 127.0.0.1' if name == 's3-unsigned' else ''}]\napi_gateway:\n"
                f"  function_uri: http://{upstream}\n  max_req_body_size: {limit}\n  timeout: 60s\n"
                f"  authorization: {{ iam: {{ {iam} }} }}\n"
            )

    def _start(self, settings: Path) -> None:
        key, certificate = WORK / f"{settings.name}.key", WORK / f"{settings.name}.crt"
        request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
        subprocess.run([*request.split(), *names], check=True, capture_output=True)
        https = f"https: {{ address: 127.0.0.1:0, certificate: {certificate}, key: {key} }}"
        (settings / "default.yaml").write_text(
            f"listen: {{ http: 127.0.0.1:0, {https} }}\nadmin: {{ address: 127.0.0.1:0 }}\n"
            "limits: { max_request_body: none }\nlog: { access: false }\n"
        )
        self.log = WORK / f"{settings.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([BINARY, "run", "--settings", settings], stderr=log)
        self.plain = self._says(r"listening on ([^ ,]+),")
        self.secure = self._says(r"listening with TLS on (\S+)")
        self.certificate = certificate

    def _says(self, pattern: str) -> str:
        for _ in range(200):
            if found := re.search(pattern, self.log.read_text()):
                return found[1].rstrip(",")
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"the sidecar does not start: {self.log.read_text()}")

    def resident(self) -> int:
        """The most kibibytes that were resident so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def call(self, name: str, method: str, target: str, headers: dict, body: bytes | None = None):
        url = f"http://{self.plain}{target}"
        headers = {"host": f"{name}.localhost", **headers}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            return error


class Zeros(io.RawIOBase):
    """A file of zeros, which takes no memory."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, to: int, whence: int = 0) -> int:
        self.at = (0, self.at, self.size)[whence] + to
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.at
        size = left if size is None or size < 0 else min(size, left)
        self.at += size
        return bytes(size)


def client(url: str, verify) -> object:
    """boto3 without keys."""
    config = Config(
        signature_version=UNSIGNED, retries={"max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=300
    )
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config, verify=verify)


def objects(name: str, s3) -> None:
    """Writes, reads, lists and deletes objects."""
    bucket, key = "bucket", f"a b/c+d~é(1)/{name}"
    body = bytes(range(256)) * 300
    put = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"owner": "me"}, ContentType="x/y")
    compare(f"{name}: put", put["ResponseMetadata"]["HTTPStatusCode"], 200)
    got = s3.get_object(Bucket=bucket, Key=key)
    compare(f"{name}: get", (got["Body"].read() == body, got["Metadata"]), (True, {"owner": "me"}))
    part = s3.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")["Body"].read()
    compare(f"{name}: range", part, body[10:20])
    compare(f"{name}: head", s3.head_object(Bucket=bucket, Key=key)["ContentLength"], len(body))
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a b/c+d~é(1)/")["Contents"]
    compare(f"{name}: list", key in [entry["Key"] for entry in listed], True)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    parts = []
    for number, size in [(1, 5 << 20), (2, 1000)]:
        arguments = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "PartNumber": number}
        tag = s3.upload_part(Body=bytes(size), **arguments)["ETag"]
        parts.append({"ETag": tag, "PartNumber": number})
    complete = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    s3.complete_multipart_upload(**complete)
    compare(f"{name}: parts", s3.head_object(Bucket=bucket, Key="parts")["ContentLength"], (5 << 20) + 1000)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    compare(f"{name}: copy", s3.head_object(Bucket=bucket, Key="copy")["ContentLength"], len(body))
    s3.upload_fileobj(Zeros(20 << 20), bucket, "transfer")
    body = io.BytesIO()
    s3.download_fileobj(bucket, "transfer", body)
    compare(f"{name}: transfer in parts at once", body.getvalue(), bytes(20 << 20))
    for gone in (key, "parts", "copy", "transfer"):
        s3.delete_object(Bucket=bucket, Key=gone)
    left = s3.list_objects_v2(Bucket=bucket).get("KeyCount")
    compare(f"{name}: delete", left, 0)


def large(name: str, s3, sidecar: Sidecar, verifier: Verifier) -> None:
    """1 GiB up and down in bounded memory."""
    begun = time.monotonic()
    s3.put_object(Bucket="bucket", Key="large", Body=Zeros(LARGE_SIZE), ContentLength=LARGE_SIZE)
    took = time.monotonic() - begun
    size = verifier.seen[-1]["size"]
    compare(f"{name}: 1 GiB up in {took:.0f} s", size >= LARGE_SIZE, True)
    body, size = s3.get_object(Bucket="bucket", Key="large")["Body"], 0
    while piece := body.read(1 << 20):
        size += len(piece)
    compare(f"{name}: 1 GiB down", size, LARGE_SIZE)
    resident = sidecar.resident()
    compare(f"{name}: resident {resident} KiB, at most {MAX_RESIDENT}", resident <= MAX_RESIDENT, True)


def other_clients(sidecar: Sidecar) -> None:
    host, port = sidecar.plain.split(":")
    for name in ("es-default", "aoss-default"):
        search = OpenSearch(hosts=[{"host": host, "port": int(port)}], headers={"host": f"{name}.localhost"})
        done, errors = bulk(search, [{"_op_type": "index", "_index": "i", "_source": {"a": 1}}])
        found = search.search(index="i", body={"query": {"match_all": {}}})
        compare(f"{name}: opensearch-py", (done, errors, found["hits"]["total"]["value"]), (1, [], 1))


def write_request() -> bytes:
    """Prometheus' WriteRequest (prompb/remote.proto) with one sample."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    label = field(1, b"__name__") + field(2, b"up")
    sample = b"\x09" + struct.pack("<d", 1.0) + b"\x10\x01"
    return field(1, field(1, label) + field(2, sample))


def examples(sidecar: Sidecar, verifier: Verifier) -> None:
    """Clients as k8s/examples/services describes them."""
    url = f"http://{sidecar.plain}"
    search = OpenSearch(f"{url}/opensearch")
    compare("example opensearch", search.search(index="i", body={})["hits"]["total"]["value"], 1)
    search = OpenSearch(f"{url}/collection")
    compare("example opensearch-serverless", search.search(index="i", body={})["hits"]["total"]["value"], 1)
    write = write_request()
    headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}
    body = bytes(cramjam.snappy.compress_raw(write))
    request = urllib.request.Request(f"{url}/prometheus/api/v1/remote_write", data=body, headers=headers)
    answer = json.load(urllib.request.urlopen(request, timeout=60))
    compare("example prometheus", answer, {"size": len(write), "encoding": "snappy"})
    models = OpenAI(base_url=f"{url}/v1", api_key="unused")
    chat = models.chat.completions
    question = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    compare("example bedrock", chat.create(**question).choices[0].message.content, "Hello")
    pieces = [chunk.choices[0].delta.content for chunk in chat.create(**question, stream=True)]
    compare("example bedrock, streamed", pieces, ["Hel", "lo"])
    compare("example bedrock, responses", models.responses.create(model="m", input="Hi").output_text, "Hello")
    compare("example mcp-gateway", asyncio.run(mcp_client(f"{url}/mcp")), (["slow"], "done"))
    compare("example mcp-gateway: end of the session", verifier.seen[-1]["method"], "DELETE")
    s3 = client(url, None)
    s3.put_object(Bucket="bucket", Key="example", Body=b"hello")
    compare("example s3", s3.get_object(Bucket="bucket", Key="example")["Body"].read(), b"hello")
    s3.delete_object(Bucket="bucket", Key="example")


async def mcp_client(url: str) -> tuple:
    """Lists the tools of an MCP server and calls one that is silent for a while."""
    async with streamable_http_client(url) as streams, ClientSession(*streams[:2]) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        result = await session.call_tool("slow", {})
        return tools, result.content[0].text


def status_of(request: urllib.request.Request) -> int:
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


def mcp_server() -> tuple[str, int]:
    """Starts an MCP server on loopback."""
    server = MCPServer("tools", log_level="ERROR")

    @server.tool()
    async def slow() -> str:
        await asyncio.sleep(SILENCE)
        return "done"

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    run = uvicorn.Server(config).run
    threading.Thread(target=run, kwargs={"sockets": [listener]}, daemon=True).start()
    return listener.getsockname()


def signatures(sidecar: Sidecar, verifier: Verifier) -> None:
    """Paths, queries, headers and bodies that signers treat differently, for each service."""
    requests = [
        ("GET", "/", {}, None),
        ("GET", "/a%20b/c%2Fd/%7Ee/f+g/$h/@i=", {}, None),
        ("PUT", "/a//b/./c?x=1&b=a+b&a=%2A&flag", {"x-amz-meta-a": "a  b", "x-amz-acl": "private"}, b"hello"),
        ("POST", "/model/anthropic.claude-v2%3A1/invoke", {"content-type": "application/json"}, b"{}"),
        ("DELETE", "/a/../b?uploadId=a.b-c_d~e", {}, None),
    ]
    for service, payload in SERVICES:
        name = f"{service}-{payload or 'default'}"
        for method, target, headers, body in requests:
            before = len(verifier.seen)
            sidecar.call(name, method, target, {"x-trial": "signature", **headers}, body).read()
            compare(f"{name}: {method} {target}", verifier.seen[before]["service"], service)


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    verifier = Verifier((host, port), mcp_server())
    sidecar = Sidecar(verifier.address)
    of_examples = Sidecar(verifier.address, of_examples=True)
    try:
        plain = client(f"http://{sidecar.plain}", None)
        secure = client(f"https://{sidecar.secure}", str(sidecar.certificate))
        plain.create_bucket(Bucket="bucket")
        compare("buckets", [bucket["Name"] for bucket in plain.list_buckets()["Buckets"]], ["bucket"])
        for name, s3 in [("plain", plain), ("TLS", secure)]:
            objects(name, s3)
            large(name, s3, sidecar, verifier)
        other_clients(sidecar)
        examples(of_examples, verifier)
        signatures(sidecar, verifier)
        aws_secrets.trial(BINARY, WORK, f"http://{host}:{port}", compare)
        payloads = {seen["payload"] for seen in verifier.seen if seen["service"] == "s3"}
        compare("an aws-chunked body was signed as one", "STREAMING-UNSIGNED-PAYLOAD-TRAILER" in payloads, True)
        compare("refused signatures", verifier.refused, [])
        sidecar.call("es-default", "GET", "/", {"x-trial": "signature"}).read()
        forged = dict(verifier.seen[-1]["headers"], **{"x-amz-date": "20200101T000000Z"})
        request = urllib.request.Request(f"http://{verifier.address}/", headers=forged)
        compare("a forged date is refused", status_of(request), 403)
    finally:
        for running in (sidecar, of_examples):
            running.process.terminate()
            running.process.wait()
        moto.stop()
    sys.exit(exit_code())


main()
