"""Clients from PyPI: grpcio over TCP and a Unix socket, httpx whose upload is refused early. Prints JSON."""

import json
import sys

import grpc
import httpx

TCP, SOCKET = sys.argv[1:]


def ping(target: str, *options: tuple[str, str]) -> str:
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            return channel.unary_unary("/pkg.Service/Ping")(b"ping", timeout=10).decode()
        except grpc.RpcError as error:
            return error.code().name


def refused_upload() -> str:
    with httpx.Client(http1=False, http2=True) as client:
        try:
            return str(client.post(f"http://{TCP}/small", content=bytes(4 << 20)).status_code)
        except httpx.HTTPError as error:
            return repr(error)


def refused_uploads() -> dict[str, int]:
    results = [refused_upload() for _ in range(10)]
    return {result: results.count(result) for result in results}


json.dump(
    {
        "grpcio, TCP": ping(TCP),
        "grpcio, Unix socket": ping(f"unix:{SOCKET}"),
        "grpcio, Unix socket, default_authority": ping(
            f"unix:{SOCKET}", ("grpc.default_authority", "localhost")
        ),
        "httpx, early 413": refused_uploads(),
    },
    sys.stdout,
)
