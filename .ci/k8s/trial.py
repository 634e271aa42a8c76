"""Runs the image as the pods of k8s/ and of k8s/README.md would: start, probes, a signed call, changed settings and keys,
wrong ones, and the end. `run` starts it in namespaces of its own, so that ports and paths are the manifests'.
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import yaml

from pod import POD_ADDRESS, POD_ADDRESS_6, Image, Pod, get

sys.path.append(str(Path(__file__).resolve().parents[1]))
from bundle_server import serve_bundle  # noqa: E402

WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
README = Path(__file__).resolve().parents[2] / "k8s/README.md"
PODS, NUMBERS = WORK / "pods", count(1)
# the agent of EKS Pod Identity, which `dev` replaces as it does API Gateway
AGENT = "169.254.170.23"
TO_ANY_ROUTE = "APIGW_INVOKER__ROUTES__ALL__API_GATEWAY__FUNCTION_URI"
TO_STAND_IN = {"APIGW_INVOKER__ROUTES__ORDERS__API_GATEWAY__FUNCTION_URI": f"http://{AGENT}/iam"}


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in [f"{AGENT}/32", f"{POD_ADDRESS_6}/128"]:
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    # left over from the previous run
    shutil.rmtree(PODS, ignore_errors=True)
    with StandIn() as stand_in:
        application()
        other_pods()
        without_ipv6()
        readme()
        settings_source()
        for name in ["stand-alone", "chart"]:
            stand_alone(name, stand_in)
        demo()
    troubles()


class StandIn:
    """`dev`, for its stand-in for AWS; it writes the pods' tokens to its temporary directory."""

    def __enter__(self) -> "StandIn":
        directory = WORK / "dev"
        directory.mkdir(exist_ok=True)
        command = [INVOKER, "dev", "--listen", "127.0.0.1:9082", "--stand-in", f"{AGENT}:80"]
        # pods need the default admin port; while it is in use, `dev` takes a free one
        with (WORK / "dev.log").open("wb") as log, socket.create_server(("127.0.0.1", 9180)):
            self.process = subprocess.Popen(
                [*command, "--credentials", "pod-identity"], stdout=log, stderr=log,
                env=os.environ | {"TMPDIR": str(directory)},
            )
            eventually("the stand-in is there", lambda: get(AGENT, 80, "/open/hello")[0] == 200)
            # `dev` writes the token once it serves
            tokens = lambda: list(directory.glob("*/pod-identity-token"))  # noqa: E731
            eventually("the stand-in has written the token", tokens)
            eventually("its sidecar is there", lambda: get("127.0.0.1", 9082, "/nothing")[0] == 404)
        self.token = max(tokens(), key=lambda path: path.stat().st_mtime).read_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def pod(name: str, injected: dict[str, str], target: str = "serve") -> Pod:
    documents = list(yaml.safe_load_all((WORK / f"rendered/{name}.yaml").read_text()))
    return Pod(PODS / f"{name}-{next(NUMBERS)}", Image(WORK / "image" / target), documents, injected)


def application() -> None:
    """Checks everything that the component's page describes."""
    sidecar = pod("application", TO_STAND_IN)
    say("application", f"ready after {sidecar.start():.2f} s")
    assert (sidecar.probe("readinessProbe"), sidecar.probe("livenessProbe")) == (200, 200)
    assert get(POD_ADDRESS, 9080, "/orders/echo/1")[0] is None, "clients' port is to be reached from outside of the pod"
    status, body = get("127.0.0.1", 9080, "/orders/echo/1")
    assert status == 200 and "AKIDEXAMPLE" in json.loads(body)["headers"]["authorization"][0], body
    say("application", "a call was signed with the Secret's keys, and the signature was right")

    for kind in ["startupProbe", "readinessProbe", "livenessProbe"]:
        assert sidecar.probe(kind, POD_ADDRESS_6) == 200
    say("application", "probes are answered over IPv4 and IPv6")

    # and those of exec probes
    commands = [*re.findall(r"^kubectl exec .* -- apigw-invoker ([^#\n]*)", README.read_text(), re.M), "health"]
    assert len(commands) > 3, commands
    for command in commands:
        code, told = sidecar.execute(*command.split())
        assert code == 0, f"{command}: {told}"
        say("application", f"in the pod `apigw-invoker {command.strip()}` ends with 0")
    took = min(taken(lambda: sidecar.execute("health")) for _ in range(20))
    assert took < 0.02, f"`health` takes {took * 1000:.0f} ms"
    say("application", f"`apigw-invoker health` takes {took * 1000:.0f} ms")
    memory(sidecar)

    routes, keys = dict(sidecar.data["ConfigMap", "apigw-invoker-routes"]), sidecar.data["Secret", "apigw-invoker-keys"]
    added = f"uri: /added\napi_gateway:\n  function_uri: http://{AGENT}/open/hello\n".encode()
    sidecar.write("apigw-invoker-routes", routes | {"added.yaml": added})
    took = eventually("a route is added", lambda: get("127.0.0.1", 9080, "/added")[0] == 200)
    say("application", f"a route that was added to the ConfigMap served after {took:.1f} s, by a swap of ..data")

    sidecar.write("apigw-invoker-keys", keys | {"secretkey": b"another"})
    took = eventually("keys rotate", lambda: get("127.0.0.1", 9080, "/orders/echo/1")[0] == 403)
    sidecar.write("apigw-invoker-keys", keys)
    eventually("keys rotate back", lambda: get("127.0.0.1", 9080, "/orders/echo/1")[0] == 200)
    say("application", f"keys that were changed in the Secret were in use after {took:.1f} s")

    sidecar.write("apigw-invoker-routes", routes | {"added.yaml": added.replace(b"uri", b"url", 1)})
    eventually("wrong settings are told", lambda: b"unknown key" in get(POD_ADDRESS, 9180, "/ready")[1])
    assert get("127.0.0.1", 9080, "/added")[0] == 200, "wrong settings came into force"
    assert sidecar.probe("readinessProbe") == 200, "wrong settings take the pod out of service"
    say("application", "a wrong route was refused, told by /ready, and those before it served on")

    # from a client other than the application, such as a remaining container
    with ThreadPoolExecutor() as pool:
        call = pool.submit(get, "127.0.0.1", 9080, "/orders/slow/1500")
        time.sleep(0.5)
        took = sidecar.stop()
        assert call.result()[0] == 200, call.result()
    say("application", f"after SIGTERM the call in flight was finished, and it ended after {took:.1f} s")
    sidecar.write("apigw-invoker-routes", routes)
    sidecar.start()
    say("application", f"with nothing in flight it ended {sidecar.stop():.2f} s after SIGTERM, of {sidecar.grace} s")


def other_pods() -> None:
    """A CronJob's pod, pods that the policies of k8s/injection have changed, and those of the page's charts."""
    # a route without keys of its own uses those of the environment
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
    to_any = {TO_ANY_ROUTE: f"http://{AGENT}/iam"}
    for name, target, path in [
        ("beside-cronjob-irsa", to_any, "/echo/1"),
        ("injected-policy", TO_STAND_IN, "/echo/1"),
        ("injected-kyverno", TO_STAND_IN, "/echo/1"),
        ("readme-chart", TO_STAND_IN, "/orders/echo/1"),
        ("readme-library", TO_STAND_IN, "/orders/echo/1"),
    ]:
        sidecar = pod(name, target | keys)
        sidecar.start()
        status, body = get("127.0.0.1", 9080, path)
        assert status == 200 and "AKIDEXAMPLE" in json.loads(body)["headers"]["authorization"][0], body
        sidecar.stop()
        say(name, "a call was signed")


def settings_source() -> None:
    """A pod that follows a bundle, without a ConfigMap, and starts again from its cache."""
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w:gz") as archive:
        for name, text in [
            ("default.yaml", "reload: { interval: 100ms }\n"),
            ("routes/orders.yaml", f"uri: /orders/*\napi_gateway:\n  function_uri: http://{AGENT}/open\n"),
        ]:
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    for name in ["chart-source", "readme-source"]:
        sidecar = pod(name, {})
        # what the page and the chart's values name cannot be reached here
        sidecar.environment["APIGW_INVOKER_SETTINGS"] = "http://127.0.0.1:8099/settings.tar.gz"
        with serve_bundle(bundle.getvalue(), 8099):
            sidecar.start()
            assert get("127.0.0.1", 9080, "/orders/hello")[0] == 200
            assert sidecar.execute("health", "--ready") == (0, "")
        sidecar.stop()
        took = sidecar.start()
        assert get("127.0.0.1", 9080, "/orders/hello")[0] == 200
        sidecar.stop()
        say(name, f"it served a bundle, and without its source it served again after {took:.1f} s")


def without_ipv6() -> None:
    sidecar = pod("application", TO_STAND_IN)
    sidecar.has_ipv6 = False
    sidecar.start()
    assert sidecar.probe("readinessProbe") == 200
    assert sidecar.probe("readinessProbe", POD_ADDRESS_6) is None
    assert sidecar.execute("health", "--ready") == (0, "")
    assert "no IPv6 on this machine" in sidecar.last_words(), sidecar.last_words()
    sidecar.stop()
    code, told = sidecar.execute("health")
    assert code == 1 and "cannot connect to" in told and len(told.splitlines()) == 1, told
    say("application", "without IPv6 the probes are answered over IPv4, with a warning in the log")


def memory(sidecar: Pod) -> None:
    """Sends large bodies and checks that their memory is returned."""
    def resident() -> int:
        metrics = get(POD_ADDRESS, 9180, "/metrics")[1].decode()
        line = next(line for line in metrics.splitlines() if line.startswith("process_resident_memory_bytes "))
        return int(float(line.split()[1])) >> 20

    limit, body = mebibytes(sidecar.container["resources"]["limits"]["memory"]), bytes(9 << 20)
    before = resident()
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(get, "127.0.0.1", 9080, "/orders/slow/2000", body) for _ in range(20)]
        during = 0
        while not all(call.done() for call in calls):
            during = max(during, resident())
            time.sleep(0.05)
    assert [call.result()[0] for call in calls] == [200] * 20
    after = resident()
    requested = mebibytes(sidecar.container["resources"]["requests"]["memory"])
    assert during < limit and after < requested, f"{before}, {during} of {limit}, {after} MiB"
    say("application", f"20 bodies of 9 MiB at a time: {before} MiB before, {during} with them, {after} after")


def mebibytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi"))


def readme() -> None:
    keys = {"accesskey": b"AKIDEXAMPLE", "secretkey": b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
    for name in ["readme", "readme-settings", "chart-sidecar"]:
        sidecar = pod(name, TO_STAND_IN)
        sidecar.write("apigw-invoker-keys", keys)
        sidecar.start()
        assert get("127.0.0.1", 9080, "/orders/echo/1")[0] == 200
        sidecar.stop()
        say(name, "its files start a sidecar, and a call by its route was signed")


def stand_alone(name: str, stand_in: StandIn) -> None:
    # added by EKS to a pod whose service account has an association
    token = "/var/run/secrets/apigw-invoker/eks-pod-identity-token"
    injected = TO_STAND_IN | {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{AGENT}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,
    }
    # added by Kubernetes for a Service of this name
    injected |= {"APIGW_INVOKER_SERVICE_HOST": "10.0.0.1", "APIGW_INVOKER_PORT_80_TCP_PORT": "80"}
    gateway = pod(name, injected)
    gateway.write("apigw-invoker-keys", {"eks-pod-identity-token": stand_in.token})
    gateway.start()
    assert get(POD_ADDRESS, 9080, "/orders/echo/1")[0] == 200
    say(name, "a call from another pod was signed with the keys of Pod Identity")
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(gateway.stop)
        eventually("it is taken out of service", lambda: gateway.probe("readinessProbe") == 503)
        time.sleep(5)
        assert get(POD_ADDRESS, 9080, "/orders/echo/1")[0] == 200, "a late client was refused"
        say(name, f"late clients were served, and it ended after {ended.result():.1f} of {gateway.grace} s")


def demo() -> None:
    sidecar = pod("demo", {}, "dev")
    sidecar.start()
    status, body = get("127.0.0.1", 9080, "/iam/echo/hello?from=a+pod")
    assert status == 200, body
    sidecar.stop()
    say("demo", "its application's call was signed, with no settings and no AWS")


def troubles() -> None:
    """Checks that the program prints the messages quoted in the table of k8s/README.md."""
    table = README.read_text().split("## Troubleshooting\n")[1]

    def says(what: str, told: str) -> None:
        assert f"`{what}`" in table, f"the README does not quote {what}"
        assert what in told, f"not {what}, but {told}"

    def logs(sidecar: Pod, what: str) -> None:
        # lines are written when requests have been answered
        eventually(what, lambda: what in sidecar.last_words())
        says(what, sidecar.last_words())

    def fails(sidecar: Pod, code: int, what: str) -> None:
        sidecar.spawn()
        assert sidecar.process.wait(10) == code, sidecar.last_words()
        says(what, sidecar.last_words())

    sidecar = pod("readme", {})
    fails(sidecar, 78, "cannot be read: No such file or directory")
    sidecar.write("apigw-invoker-routes", {})
    fails(sidecar, 78, "there is no route")

    chain = b"uri: /orders/*\napi_gateway:\n  function_uri: https://a.example/\n  authorization: { iam: {} }\n"
    sidecar.write("apigw-invoker-routes", {"orders.yaml": chain})
    with socket.create_server(("127.0.0.1", 9080)):
        fails(sidecar, 1, "Address already in use")
    sidecar.spawn()
    eventually("keys are missed", lambda: b"unavailable" in get(POD_ADDRESS, 9180, "/ready")[1])
    assert sidecar.probe("startupProbe") == 503
    says("no other source is configured", get(POD_ADDRESS, 9180, "/ready")[1].decode())
    assert get("::1", 9080, "/orders/1")[0] is None
    says("route_not_found", get("127.0.0.1", 9080, "/")[1].decode())
    code, told = sidecar.execute("explain", "GET", "/")
    assert code == 1 and "orders" in told, told
    sidecar.stop()

    # added by EKS for IRSA
    sidecar.environment["AWS_ROLE_ARN"] = "arn:aws:iam::111122223333:role/orders"
    sidecar.environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/var/run/secrets/apigw-invoker/token"
    sidecar.write("apigw-invoker-keys", {"token": b"a.b.c"})
    sidecar.write("apigw-invoker-routes", {"orders.yaml": chain.replace(b"  authorization: { iam: {} }\n", b"")})
    sidecar.start()
    says("upstream_connect", get("127.0.0.1", 9080, "/orders/1")[1].decode())
    logs(sidecar, "cannot resolve")
    sidecar.write("apigw-invoker-routes", {"orders.yaml": chain})
    eventually("STS is out of reach", lambda: b"cannot resolve sts." in get(POD_ADDRESS, 9180, "/ready")[1])
    sidecar.stop()

    del sidecar.environment["APIGW_INVOKER__ADMIN__ADDRESS"]
    sidecar.spawn()
    eventually("it listens", lambda: get("127.0.0.1", 9180, "/live")[0] == 200)
    assert sidecar.probe("livenessProbe") is None
    logs(sidecar, "admin port on")
    sidecar.stop()
    say("troubles", "what the README quotes is what the program says")


def eventually(what: str, holds: Callable[[], bool]) -> float:
    before = time.monotonic()
    while not holds():
        assert time.monotonic() < before + 20, f"not within 20 s: {what}"
        time.sleep(0.05)
    return time.monotonic() - before


def taken(action: Callable[[], object]) -> float:
    before = time.monotonic()
    action()
    return time.monotonic() - before


def say(name: str, what: str) -> None:
    print(f"{name}: {what}", flush=True)


main()
