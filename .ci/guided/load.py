"""What a training sends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """A request, how often it is sent, and the status that it must have."""

    path: str
    # a multiple of the connections that share it
    count: int
    status: int = 200
    method: str = "GET"
    body: bytes = b""
    headers: str = ""
    # HTTP/1.1 over TLS
    is_secured: bool = False
    # with prior knowledge, a GET without headers
    is_http2: bool = False
