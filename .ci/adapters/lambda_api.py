"""A small Lambda API: it runs the adapters' handlers, those of Python in here and those of Node in its process."""

import asyncio
import http.client
import json
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import python_applications


class Context:
    """What handlers ask of Lambda's context."""

    aws_request_id = "id"
    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 30_000


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node_port = 0

    def setup(self):
        super().setup()
        # Mangum asks for its thread's, which a runtime's main thread has
        asyncio.set_event_loop(asyncio.new_event_loop())

    def finish(self):
        asyncio.get_event_loop().close()
        super().finish()

    def do_POST(self):
        event = self.rfile.read(int(self.headers["content-length"]))
        name = self.path.removeprefix("/2015-03-31/functions/").removesuffix("/invocations")
        if name in python_applications.HANDLERS:
            failed, answer = self.run(python_applications.HANDLERS[name], event)
        else:
            failed, answer = self.ask_node(name, event)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if failed:
            self.send_header("X-Amz-Function-Error", "Unhandled")
        self.end_headers()
        self.wfile.write(answer)

    @staticmethod
    def run(handler, event: bytes) -> tuple[bool, bytes]:
        try:
            return False, json.dumps(handler(json.loads(event), Context())).encode()
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return True, json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}).encode()

    def ask_node(self, name: str, event: bytes) -> tuple[bool, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.node_port, timeout=30)
        connection.request("POST", f"/{name}", event)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            print(f"{name}: {answer.decode()}", file=sys.stderr)
        return response.status != 200, answer

    def log_message(self, *_):
        pass


def serve(node_port: int) -> int:
    """Serves it, and gives its port."""
    Api.node_port = node_port
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
