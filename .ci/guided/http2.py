"""HTTP/2 with prior knowledge in a training: one request after another on each connection (RFC 9113, RFC 7541)."""

import asyncio
import struct

from load import Load

CONNECTIONS = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
# the most that the window of a connection may have, beyond its first 65,535 bytes
WHOLE_WINDOW = (1 << 31) - 1 - 65_535


async def send(load: Load, port: int) -> None:
    """Sends all of them over 8 connections; a reset stream or a closed connection is an error."""
    await asyncio.gather(*(_connection(load.path, load.count // CONNECTIONS, port) for _ in range(CONNECTIONS)))


async def _connection(path: str, count: int, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE + _frame(SETTINGS, 0, 0) + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WHOLE_WINDOW)))
    block = _literals({":method": "GET", ":scheme": "http", ":path": path, ":authority": "127.0.0.1"})
    for index in range(count):
        writer.write(_frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, block))
        await _end_of_stream(reader, writer)
    writer.close()
    await writer.wait_closed()


async def _end_of_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readexactly(9)
        kind, flags = head[3], head[4]
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK:
            writer.write(_frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind in (RST_STREAM, GOAWAY):
            raise RuntimeError(f"the stream ended with error {payload.hex()}")
        # of HEADERS and DATA alone
        if kind in (0, HEADERS) and flags & END_STREAM:
            return


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literals(headers: dict[str, str]) -> bytes:
    """Literal header fields without indexing, without Huffman (RFC 7541 section 6.2.2); each shorter than 127 bytes."""
    texts = (text for pair in headers.items() for text in pair)
    encoded = [bytes([len(text)]) + text.encode() for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(encoded[::2], encoded[1::2]))
