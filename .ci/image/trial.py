"""Runs both images by podman, read-only and as user 65532: health check, a signed call, the end. `run` starts it in
network and mount namespaces of its own, so that the ports are the defaults.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from engine import Engine

sys.path.append(str(Path(__file__).resolve().parents[1]))
from loopback import get  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv[1])
# of the stand-in, beside the default ports of the image that serves
STAND_IN = ["dev", "--listen=127.0.0.1:9082", "--admin=127.0.0.1:9182", "--stand-in=127.0.0.1:9081"]
# of a command that the container does not have
NOT_FOUND = 127
# seconds for an end without requests in flight, podman's own time included
QUICK_END = 5
CHECK = ["--health-cmd", '["/usr/local/bin/apigw-invoker", "health"]']
# those of the stand-in, and its stage that requires a signature and an API key
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "ORDERS_API_KEY": "an-api-key-of-at-least-20-characters",
    "APIGW_INVOKER__ROUTES__ORDERS__API_GATEWAY__FUNCTION_URI": "http://127.0.0.1:9081/both",
}


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    engine = Engine(WORK / "engine")
    engine.clean()
    engine.choose_runtime("serve")
    try:
        demo(engine)
        serving(engine)
        without_network(engine)
    finally:
        engine.clean()


def demo(engine: Engine) -> None:
    engine.start("demo", "dev", "dev", options=CHECK)
    took = engine.becomes_healthy("demo")
    assert get("/iam/echo/hello")[0] == 200
    code = engine.stop("demo")
    assert code == 0, code
    print(f"dev: healthy after {took:.1f} s, a call was signed, and SIGTERM ended it with 0", flush=True)


def serving(engine: Engine) -> None:
    assert engine.code("run", "--rm", "--network=none", *engine.limits, "serve", "dev") == 2, "it has the command dev"
    engine.start("stand-in", "dev", *STAND_IN)
    options = [*CHECK, f"--volume={ROOT}/packages/settings:/etc/apigw-invoker:ro"]
    options += [f"--env={name}={value}" for name, value in ENVIRONMENT.items()]
    engine.start("serving", "serve", options=options)
    took = engine.becomes_healthy("serving")
    user = Path(f"/proc/{engine.podman('inspect', '--format={{.State.Pid}}', 'serving').strip()}/status").read_text()
    assert "Uid:\t65532\t65532" in user and "CapEff:\t0000000000000000" in user and "NoNewPrivs:\t1" in user, user
    status, body = get("/orders/echo/1")
    assert status == 200 and "AKIDEXAMPLE" in json.loads(body)["headers"]["authorization"][0], body
    assert engine.code("exec", "serving", "apigw-invoker", "health", "--ready") == 0
    assert engine.code("exec", "serving", "sh", "-c", "true") == NOT_FOUND, "the image has a shell"
    code = engine.stop("serving")
    assert code == 0, code
    print(f"serve: healthy after {took:.1f} s as user 65532, a call was signed, and SIGTERM ended it with 0", flush=True)


def without_network(engine: Engine) -> None:
    """The start needs no network: the only interface is loopback."""
    options = [*CHECK, "--network=none", f"--volume={ROOT}/packages/settings:/etc/apigw-invoker:ro"]
    options += [f"--env={name}={value}" for name, value in ENVIRONMENT.items()]
    engine.start("isolated", "serve", options=options)
    engine.becomes_healthy("isolated")
    before = time.monotonic()
    code = engine.stop("isolated")
    took = time.monotonic() - before
    assert code == 0 and took < QUICK_END, f"{code} after {took:.1f} s"
    print(f"serve: healthy without a network, and ended after {took:.1f} s without requests", flush=True)


main()
