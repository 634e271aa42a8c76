"""Checks alerts and dashboard: that PromQL can read them, that alerts begin when `alerts.test.yaml` says so, and that a
running binary shows every metric and label that they ask for.
"""

import json
import re
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from pod import get

MONITORING = Path(__file__).resolve().parents[2] / "k8s/monitoring"
WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
DIRECTORY = WORK / "monitoring"

# metrics and labels that Prometheus adds to a scrape of a pod
PROMETHEUS = ({"up"}, {"job", "instance", "namespace", "pod", "le"})


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
    write("alerts.yaml", rules)
    promtool("check", "rules", "alerts.yaml")
    alerts(rules["groups"][0]["rules"])
    asked = [rule["expr"] for rule in rules["groups"][0]["rules"]]
    shown = dashboard()
    names, labels = scraped()
    for expression in asked + shown:
        check_names(expression, names | PROMETHEUS[0], labels | PROMETHEUS[1])
    print(f"the binary shows every metric and label of {len(asked)} alerts and {len(shown)} of the dashboard's queries")


def write(name: str, document: dict) -> None:
    (DIRECTORY / name).write_text(yaml.safe_dump(document))


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=DIRECTORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def alerts(rules: list[dict]) -> None:
    text = (MONITORING / "alerts.test.yaml").read_text()
    (DIRECTORY / "alerts.test.yaml").write_text(text)
    promtool("test", "rules", "alerts.test.yaml")
    names = {rule["alert"] for rule in rules}
    tested = set(re.findall(r'alertname="(\w+)"', text))
    assert tested == names, f"not in both alerts and tests: {names ^ tested}"
    print(f"{len(names)} alerts begin when they should")


def dashboard() -> list[str]:
    expressions = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            expressions.extend(value[key] for key in ["expr"] if key in value)
            value = list(value.values())
        if isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(json.loads((MONITORING / "dashboard.json").read_text()))
    # replaces Grafana's variables by valid PromQL
    expressions = [e.replace("$__rate_interval", "5m") for e in expressions]
    rules = [{"record": f"panel:{number}", "expr": e} for number, e in enumerate(expressions)]
    write("dashboard.yaml", {"groups": [{"name": "dashboard", "rules": rules}]})
    promtool("check", "rules", "dashboard.yaml")
    return expressions


def check_names(expression: str, names: set[str], labels: set[str]) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    metrics = set(re.findall(r"\b(?:apigw_invoker|process)_\w+|\b\w+(?=\s*[{\[])", bare))
    assert metrics and metrics <= names, f"{metrics - names} is not to be had: {expression}"
    grouped = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare)
    used = {label.strip() for group in grouped for label in group.split(",")} | set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*""', bare))
    assert used <= labels, f"{used - labels} is no label: {expression}"


# Routes that give every metric a sample.
SETTINGS = {
    "default.yaml": """
        listen:
          http: 127.0.0.1:9080
          https: { address: '127.0.0.1:9443', certificate: CERTIFICATE, key: KEY }
        admin: { address: '127.0.0.1:9180' }
    """,
    "routes/dead.yaml": """
        uri: /dead
        api_gateway:
          function_uri: http://127.0.0.1:1/
          retry: { attempts: 3, backoff: 1ms, max_backoff: 1ms }
          circuit_breaker: { failures: 100 }
    """,
    "routes/keyless.yaml": """
        uri: /keyless
        api_gateway:
          function_uri: http://127.0.0.1:9081/iam
          timeout: 500ms
          authorization:
            iam:
              accesskey: AKIDEXAMPLE
              secretkey: secret
              assume_role_arn: arn:aws:iam::111122223333:role/nobody
              sts_endpoint_url: http://127.0.0.1:1
    """,
    "routes/role.yaml": """
        uri: /role/*
        api_gateway:
          function_uri: http://127.0.0.1:9081/iam
          authorization:
            iam:
              accesskey: AKIDEXAMPLE
              secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY
              assume_role_arn: arn:aws:iam::123456789012:role/base
              sts_endpoint_url: http://127.0.0.1:9081
    """,
    "routes/denied.yaml": """
        uri: /denied
        api_gateway:
          function_uri: http://127.0.0.1:9081/key
          authorization: { apikey: unknown }
    """,
    "routes/one.yaml": """
        uri: /one/*
        max_in_flight: 1
        api_gateway: { function_uri: 'http://127.0.0.1:9081/open' }
    """,
}


def scraped() -> tuple[set[str], set[str]]:
    """Names and labels of /metrics after every kind of event."""
    settings = DIRECTORY / "settings"
    (settings / "routes").mkdir(parents=True, exist_ok=True)
    certificate, key = DIRECTORY / "certificate.pem", DIRECTORY / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", *curve, "-days", "100", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    for name, text in SETTINGS.items():
        text = text.replace("CERTIFICATE", str(certificate)).replace("KEY }", f"{key} }}")
        (settings / name).write_text("\n".join(line.removeprefix(" " * 8) for line in text.splitlines()))
    # a bundle, because the metrics of a source have samples only if there is one
    bundle = DIRECTORY / "settings.tar.gz"
    with tarfile.open(bundle, "w:gz") as archive:
        archive.add(settings, arcname=".")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with (DIRECTORY / "log").open("wb") as log:
        def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
            return subprocess.Popen([INVOKER, *arguments], stdout=log, stderr=log)

        processes = [start("run", "--settings", bundle)]
        try:
            # `dev` uses a free port for its admin port if the default one is in use
            wait_for(9180, "/live")
            processes.append(start("dev", "--listen", "127.0.0.1:9090"))
            wait_for(9081, "/open/hello")
            return provoke()
        finally:
            for process in processes:
                process.kill()


def wait_for(port: int, path: str) -> None:
    for _ in range(400):
        if get("127.0.0.1", port, path)[0]:
            return
        time.sleep(0.05)
    sys.exit(f"nobody answers at port {port}")


def provoke() -> tuple[set[str], set[str]]:
    with ThreadPoolExecutor() as pool:
        paths = ["/nowhere", "/keyless", "/denied", "/role/hello"] + ["/dead"] * 12 + ["/one/slow/500"] * 2
        list(pool.map(lambda path: get("127.0.0.1", 9080, path), paths))
    # keys of a role are fetched in the background, with retries
    for _ in range(400):
        if get("127.0.0.1", 9080, "/role/hello")[0] == 200:
            break
        time.sleep(0.05)
    text = get("127.0.0.1", 9180, "/metrics")[1].decode()
    names, labels = set(), set()
    for name, inner in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.M):
        names.add(name)
        labels |= set(re.findall(r'(\w+)="', inner))
    return names, labels


main()
