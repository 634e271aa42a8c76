"""Secrets Manager and Parameter Store as moto imitates them: the sidecar's calls, and a secret that changes."""

import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3

KEYS = {"aws_access_key_id": "AKIDTRIAL", "aws_secret_access_key": "trial-secret"}
REFERENCES = {
    "kong": "{vault://aws/prod/orders/key}",
    "apisix": "$secret://aws/1/prod/orders/key",
    "whole": "{vault://aws/plain}",
    "ssm": "$ssm://prod/key",
    "late": "$ssm://late",
}


class _Api(http.server.BaseHTTPRequestHandler):
    """Answers with the API key that it was sent."""

    def do_GET(self) -> None:
        body = self.headers.get("x-api-key", "").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def _key(address: str, route: str) -> str:
    try:
        return urllib.request.urlopen(f"http://{address}/{route}", timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)


def _becomes(address: str, route: str, key: str) -> str:
    """The key of a route, once it is this one or fifteen seconds have passed."""
    for _ in range(150):
        if (found := _key(address, route)) == key:
            return found
        time.sleep(0.1)
    return found


def trial(binary: Path, work: Path, moto: str, compare) -> None:
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    clients = {"endpoint_url": moto, "region_name": "us-east-1", **KEYS}
    manager, parameters = boto3.client("secretsmanager", **clients), boto3.client("ssm", **clients)
    manager.create_secret(Name="prod/orders", SecretString='{"key": "first", "other": "x"}')
    manager.create_secret(Name="plain", SecretString="whole-text")
    parameters.put_parameter(Name="/prod/key", Value="of-a-parameter", Type="SecureString")
    settings = work / "secrets-settings"
    (settings / "routes").mkdir(parents=True, exist_ok=True)
    (settings / "default.yaml").write_text(
        "listen: { http: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\nsecrets: { interval: 1s }\n"
    )
    for route, reference in REFERENCES.items():
        (settings / f"routes/{route}.yaml").write_text(
            f"uri: /{route}\napi_gateway:\n  function_uri: http://127.0.0.1:{api.server_port}/\n"
            f"  authorization: {{ apikey: '{reference}' }}\n"
        )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {name.upper(): value for name, value in KEYS.items()}
    environment |= {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": moto, "HOME": str(work)}
    log = work / "secrets.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([binary, "run", "--settings", settings], stderr=errors, env=environment)
    try:
        for _ in range(200):
            if (found := re.search(r"listening on ([^ ,]+),", log.read_text())) or process.poll() is not None:
                break
            time.sleep(0.05)
        if not found:
            sys.exit(f"the sidecar does not start: {log.read_text()}")
        address = found[1]
        for route, key in [("kong", "first"), ("apisix", "first"), ("whole", "whole-text"), ("ssm", "of-a-parameter")]:
            compare(f"secrets: {route}", _key(address, route), key)
        compare("secrets: a missing parameter", _key(address, "late"), "503")
        parameters.put_parameter(Name="late", Value="now", Type="String")
        compare("secrets: the parameter appears", _becomes(address, "late", "now"), "now")
        manager.put_secret_value(SecretId="prod/orders", SecretString='{"key": "second"}')
        compare("secrets: a rotated secret", _becomes(address, "kong", "second"), "second")
        parameters.put_parameter(Name="/prod/key", Value="next", Type="SecureString", Overwrite=True)
        compare("secrets: a changed parameter", _becomes(address, "ssm", "next"), "next")
        arguments = [binary, "check", "--credentials", "--settings", settings]
        checked = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        compare("secrets: check --credentials", (checked.returncode, checked.stdout.count(": fetched")), (0, 4))
        values = ["first", "second", "whole-text", "of-a-parameter", "trial-secret"]
        told = log.read_text() + checked.stdout + checked.stderr
        compare("secrets: values that were shown", [value for value in values if value in told], [])
    finally:
        process.terminate()
        process.wait()
        api.shutdown()
