"""A web server on loopback whose one file is a bundle of settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


@contextmanager
def serve_bundle(bundle: bytes, port: int) -> Iterator[None]:
    """Answers every GET with the bundle until the block ends."""

    class Source(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(bundle)))
            self.end_headers()
            self.wfile.write(bundle)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Source) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield
        finally:
            server.shutdown()
