"""Stands in for API Gateway and Lambda in a training: a process of its own that answers by path, and signs nothing."""

import asyncio
import base64
import json
import multiprocessing
import ssl
import struct
import zlib
from multiprocessing.connection import Connection
from pathlib import Path

REQUEST_ID = "x-amzn-requestid: 471289ab-d3b7-4819-9e1a-cb59cac611e0"
SMALL = b'{"message":"Hello from Lambda!"}'
# an answer of a function in the shape of a proxy integration
FUNCTION = json.dumps(
    {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "multiValueHeaders": {"set-cookie": ["a=1; Path=/", "b=2; HttpOnly"]},
        "body": json.dumps({"message": "Hello", "items": [{"id": number, "name": "wärme"} for number in range(8)]}),
        "isBase64Encoded": False,
    }
).encode()
BYTES = base64.b64encode(bytes(range(256)) * 4).decode()
BINARY = json.dumps({"statusCode": 200, "body": BYTES, "isBase64Encoded": True}).encode()
EVENTS = [f"id: {number}\ndata: {{\"part\":{number}}}\n\n".encode() for number in range(8)]


def _message(kind: str, payload: bytes) -> bytes:
    """A message of application/vnd.amazon.eventstream, as InvokeWithResponseStream answers."""
    headers = b""
    for name, value in [(":event-type", kind), (":message-type", "event")]:
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


STREAM = b"".join([*(_message("PayloadChunk", event) for event in EVENTS), _message("InvokeComplete", b"{}")])


class Upstream:
    """The process and its ports: `gateway`, `secured` (TLS) and `function`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        # a fork needs nothing of the script that started this
        forking = multiprocessing.get_context("fork")
        here, there = forking.Pipe()
        self._process = forking.Process(target=_run, args=(there, certificate, key), daemon=True)
        self._process.start()
        self.gateway, self.secured, self.function = here.recv()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _run(there: Connection, certificate: Path, key: Path) -> None:
    asyncio.run(_serve(there, certificate, key))


async def _serve(there: Connection, certificate: Path, key: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: _Connection(_gateway), "127.0.0.1", 0),
        await loop.create_server(lambda: _Connection(_gateway), "127.0.0.1", 0, ssl=context),
        await loop.create_server(lambda: _Connection(_function), "127.0.0.1", 0),
    ]
    there.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _gateway(path: str) -> bytes:
    if "/large" in path:
        return _response(200, b"x" * (64 << 10))
    if "/events" in path:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in EVENTS)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        return head + pieces + b"0\r\n\r\n"
    if "/missing" in path:
        return _response(404, b'{"message":"Not Found"}')
    if "/unavailable" in path:
        return _response(503, b'{"message":"Service Unavailable"}')
    return _response(200, SMALL)


def _function(path: str) -> bytes:
    if path.endswith("/response-streaming-invocations"):
        return _response(200, STREAM, kind="application/vnd.amazon.eventstream")
    if "binary" in path:
        return _response(200, BINARY)
    if "failing" in path:
        return _response(200, b'{"errorMessage":"no","errorType":"Error"}', "x-amz-function-error: Unhandled\r\n")
    return _response(200, SMALL if "plain" in path else FUNCTION)


def _response(status: int, body: bytes, more: str = "", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} OK\r\ncontent-type: {kind}\r\n{REQUEST_ID}\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Requests with Content-Length or without a body, one after another, as the sidecar sends them."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).decode("latin-1")
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < size:
                return
            del self._received[:size]
            self._transport.write(self._answer(lines[0].split(" ")[1]))
