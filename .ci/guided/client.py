"""The load of a training: connections that send request after request and read each response to its end."""

import asyncio
import ssl

from load import Load

CONNECTIONS = 32


async def send(load: Load, port: int) -> None:
    """Sends all of them over 32 connections; a status other than that of `load` is an error."""
    context = ssl.create_default_context() if load.is_secured else None
    if context:
        # the training is not about the client's trust
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    each = load.count // CONNECTIONS
    ends = []
    for _ in range(CONNECTIONS):
        end = loop.create_future()
        await loop.create_connection(lambda: _Connection(load, each, end), "127.0.0.1", port, ssl=context)
        ends.append(end)
    await asyncio.gather(*ends)


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, count: int, end: asyncio.Future) -> None:
        self._load, self._left, self._end = load, count, end
        self._request = _text(load)
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not _is_complete(self._received):
            return
        status = int(self._received[9:12])
        if status != self._load.status and not self._end.done():
            text = bytes(self._received[:400]).decode("latin-1")
            self._end.set_exception(RuntimeError(f"{self._load.path} is {status}, not {self._load.status}: {text}"))
        self._received.clear()
        self._left -= 1
        if self._left and not self._end.done():
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._end.done():
            lost = RuntimeError(f"{self._load.path}: the connection ended with {self._left} requests left: {error}")
            self._end.set_exception(lost) if self._left else self._end.set_result(None)


def _is_complete(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(received[:end]).lower()
    _, found, length = head.partition(b"\r\ncontent-length: ")
    if found:
        return len(received) >= end + 4 + int(length.split(b"\r\n", 1)[0])
    return b"\r\ntransfer-encoding: chunked" not in head or received.endswith(b"0\r\n\r\n")


def _text(load: Load) -> bytes:
    is_sized = load.body and "transfer-encoding" not in load.headers
    length = f"content-length: {len(load.body)}\r\n" if is_sized else ""
    head = f"{load.method} {load.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{length}{load.headers}\r\n"
    return head.encode() + load.body
