"""The upstream of the clients' calls: it answers by the path, on raw sockets, and counts requests."""

import socket
import threading
from collections import Counter

DOWNLOAD = 12 << 20
PART = 128 << 10
# a message of gRPC: not compressed, its length, its bytes
MESSAGE = b"\0" + (4).to_bytes(4, "big") + b"pong"


def answer(head: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


ANSWERS = {
    "/download": answer("", b"x" * DOWNLOAD),
    "/part": answer("", b"x" * PART),
    "/pkg.Service/Ping": answer("content-type: application/grpc\r\ngrpc-status: 0\r\n", MESSAGE),
    # ends after a tenth of what it announces
    "/cut": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789",
}


class Upstream:
    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as received:
            try:
                while line := received.readline():
                    path = line.split()[1].decode()
                    self.requests[path] += 1
                    body = received.read(length(received))
                    connection.sendall(ANSWERS.get(path) or answer("", b"%d" % len(body)))
                    if path == "/cut":
                        return
            except OSError:
                # the sidecar has closed the connection
                return


def length(received) -> int:
    """Reads the headers and returns the length of the body behind them."""
    found = 0
    while (line := received.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            found = int(value)
    return found
