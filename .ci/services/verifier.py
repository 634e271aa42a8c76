"""An upstream that verifies each request's signature with botocore, and answers 403 if it is wrong.

Requests to S3 are passed on to moto.
"""

import hashlib
import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cramjam
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a/session+token=="
KIN_OF_S3 = {"s3", "s3-outposts", "s3-object-lambda"}
REQUIRES_HASH = KIN_OF_S3 | {"aoss", "glacier", "vpc-lattice-svcs"}
PIECE = 1 << 20
# seconds, longer than the default of `timeout`
SILENCE = 3.5
# an object of this name is not kept: its upload is counted, its download is made up
LARGE = "/bucket/large"
LARGE_SIZE = 1 << 30


def expected_signature(method: str, url: str, headers: dict, service: str, digest: str) -> str:
    """Botocore's signature of a request with these signed headers and a body with this hash."""
    signer = S3SigV4Auth if service in KIN_OF_S3 else SigV4Auth
    # asked for a hash only without x-amz-content-sha256
    kind = type("Hashed", (signer,), {"payload": lambda self, request: digest})
    auth = kind(Credentials(ID, SECRET, TOKEN), service, "us-east-1")
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


class Verifier(ThreadingHTTPServer):
    """Listens on loopback. `objects` is the address of moto's S3, `tools` that of an MCP server."""

    daemon_threads = True

    def __init__(self, objects: tuple[str, int], tools: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.tools = objects, tools
        self.refused: list[str] = []
        self.seen: list[dict] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def body(self):
        """The pieces of the body."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("content-length", 0))
        while left:
            piece = self.rfile.read(min(left, PIECE))
            left -= len(piece)
            yield piece

    def verify(self, digest: str) -> dict:
        authorization = self.headers.get("authorization", "")
        parts = dict(part.strip().split("=", 1) for part in authorization.partition(" ")[2].split(","))
        _, _, region, service, _ = parts["Credential"].split("/")
        names = parts["SignedHeaders"].split(";")
        unsigned = {n.lower() for n in self.headers if n.lower().startswith("x-amz-")} - set(names)
        payload = self.headers.get("x-amz-content-sha256")
        signed = {name: ",".join(self.headers.get_all(name)) for name in names}
        url = f"https://{self.headers['host']}{self.path}"
        expected = expected_signature(self.command, url, signed, service, digest)
        problems = []
        if parts["Signature"] != expected:
            problems.append(f"signature {parts['Signature']} instead of {expected}")
        if unsigned:
            problems.append(f"unsigned headers {unsigned}")
        if region != "us-east-1":
            problems.append(f"region {region}")
        if payload is None and service in REQUIRES_HASH:
            problems.append("no x-amz-content-sha256")
        if service == "vpc-lattice-svcs" and payload != "UNSIGNED-PAYLOAD":
            problems.append(f"payload {payload}")
        is_word = payload and (payload.startswith("STREAMING-") or payload == "UNSIGNED-PAYLOAD")
        if payload and not is_word and payload != digest:
            problems.append("x-amz-content-sha256 of another body")
        return {"service": service, "payload": payload, "problems": problems}

    def respond(self, status: int, headers: list, body: bytes) -> None:
        self.send_response_only(status)
        kept = [(n, v) for n, v in headers if n.lower() not in ("content-length", "transfer-encoding", "connection")]
        for name, value in kept:
            self.send_header(name, value)
        if self.command == "HEAD":
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            self.send_header("content-length", (lengths or ["0"])[0])
        elif status not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self) -> None:
        is_large = self.path.partition("?")[0] == LARGE
        digest, size, whole = hashlib.sha256(), 0, bytearray()
        for piece in self.body():
            size += len(piece)
            if not is_large:
                digest.update(piece)
                whole += piece
        seen = self.verify(digest.hexdigest())
        seen |= {"method": self.command, "path": self.path, "size": size, "headers": dict(self.headers)}
        self.server.seen.append(seen)
        if seen["problems"]:
            self.server.refused.append(f"{seen['service']} {self.command} {self.path}: {seen['problems']}")
            self.respond(403, [], b"")
        elif is_large:
            self.answer_large()
        elif seen["service"] == "s3" and "x-trial" not in self.headers:
            self.pass_on(bytes(whole))
        elif self.path == "/mcp" and "x-trial" not in self.headers:
            self.stream_on(bytes(whole))
        elif self.path == "/openai/v1/chat/completions":
            self.answer_chat(json.loads(whole))
        elif self.path == "/openai/v1/responses":
            self.answer_responses(json.loads(whole))
        elif self.path.endswith("/api/v1/remote_write"):
            self.answer_remote_write(bytes(whole))
        else:
            self.answer_json(bytes(whole))

    def answer_large(self) -> None:
        if self.command != "GET":
            return self.respond(200, [("etag", '"1"')], b"")
        self.send_response_only(200)
        self.send_header("content-length", str(LARGE_SIZE))
        self.end_headers()
        for _ in range(LARGE_SIZE // PIECE):
            self.wfile.write(bytes(PIECE))

    def forward(self, address: tuple[str, int], body: bytes) -> tuple:
        connection = http.client.HTTPConnection(*address)
        skipped = ("host", "transfer-encoding", "content-length", "via")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        headers["host"] = f"{address[0]}:{address[1]}"
        connection.request(self.command, self.path, body, headers)
        return connection, connection.getresponse()

    def begin_stream(self, status: int, headers: list) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send_piece(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def stream_on(self, body: bytes) -> None:
        """Passes a request on to the MCP server, and its events back as they come."""
        connection, response = self.forward(self.server.tools, body)
        self.begin_stream(response.status, response.getheaders())
        while piece := response.read1(PIECE):
            self.send_piece(piece)
        self.send_piece(b"")
        connection.close()

    def answer_chat(self, request: dict) -> None:
        """Answers as OpenAI's Chat Completions, with a silence in a stream."""
        base = {"id": "1", "created": 1, "model": request["model"]}
        if not request.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
            body = base | {"object": "chat.completion", "choices": [choice]}
            return self.respond(200, [("content-type", "application/json")], json.dumps(body).encode())
        self.begin_stream(200, [("content-type", "text/event-stream")])
        for text in ("Hel", "lo"):
            choice = {"index": 0, "finish_reason": None, "delta": {"content": text}}
            chunk = base | {"object": "chat.completion.chunk", "choices": [choice]}
            self.send_piece(f"data: {json.dumps(chunk)}\n\n".encode())
            time.sleep(SILENCE)
        self.send_piece(b"data: [DONE]\n\n")
        self.send_piece(b"")

    def answer_responses(self, request: dict) -> None:
        """Answers as OpenAI's Responses."""
        text = {"type": "output_text", "text": "Hello", "annotations": []}
        message = {"type": "message", "id": "1", "role": "assistant", "status": "completed", "content": [text]}
        body = {"id": "1", "object": "response", "created_at": 1, "model": request["model"], "output": [message]}
        self.respond(200, [("content-type", "application/json")], json.dumps(body).encode())

    def answer_remote_write(self, body: bytes) -> None:
        """The size of a WriteRequest, which must be a snappy block."""
        write = bytes(cramjam.snappy.decompress_raw(body))
        answer = json.dumps({"size": len(write), "encoding": self.headers["content-encoding"]}).encode()
        self.respond(200, [("content-type", "application/json")], answer)

    def pass_on(self, body: bytes) -> None:
        connection, response = self.forward(self.server.objects, body)
        self.respond(response.status, response.getheaders(), response.read())
        connection.close()

    def answer_json(self, body: bytes) -> None:
        """A response that a client of the service accepts."""
        path = self.path.partition("?")[0]
        document: dict = {"method": self.command, "path": self.path, "size": len(body)}
        if path == "/_bulk":
            document = {"took": 1, "errors": False, "items": [{"index": {"status": 201}}]}
        elif path.endswith("/_search"):
            document = {"hits": {"total": {"value": 1}, "hits": [{"_id": "1", "_source": {"a": 1}}]}}
        self.respond(200, [("content-type", "application/json")], json.dumps(document).encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer
