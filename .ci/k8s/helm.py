"""Runs helm on the charts of k8s/chart, and keeps what it renders."""

import subprocess
import sys
from pathlib import Path

import yaml

from workloads import check_pods

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "k8s/chart"
LIBRARY = CHART / "charts/apigw-invoker-sidecar"
ROUTE = ROOT / "k8s/examples/stand-alone/routes/orders.yaml"
WORK = Path(sys.argv[1])
HELM = Path(sys.executable).parent / "helm"


def render(chart: Path, release: str, *arguments: str) -> list[dict]:
    done = helm("template", release, chart, "--kube-version=1.37.0", *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def helm(*arguments: object, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs helm with this standard input."""
    home = {f"HELM_{name}_HOME": str(WORK / "helm") for name in ["CACHE", "CONFIG", "DATA"]}
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, env=home, input=text)


def write(name: str, documents: list[dict]) -> None:
    of_the_user = {"kind": "ConfigMap", "metadata": {"name": "own-routes"}}
    check_pods(name, [*documents, of_the_user])
    (WORK / f"rendered/{name}.yaml").write_text(yaml.safe_dump_all(documents))
