"""Renders every kustomization of k8s/, of k8s/README.md, and the sidecar beside every kind of workload.

Each becomes WORK/rendered/NAME.yaml, from where the other scripts read it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
WORK = Path(sys.argv[1])

WORKLOADS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"}


def main() -> None:
    rendered = WORK / "rendered"
    shutil.rmtree(rendered, ignore_errors=True)
    rendered.mkdir(parents=True)
    for name, directory in [*shipped(), *of_the_readme(), *beside_every_workload()]:
        text = kustomize(directory)
        (rendered / f"{name}.yaml").write_text(text)
        documents = list(yaml.safe_load_all(text))
        for document in documents:
            check_references(name, document, documents)
        print(f"{name}: {', '.join(document['kind'] for document in documents)}")


def kustomize(directory: Path) -> str:
    kubectl = Path(sys.executable).parent / "kubectl"
    return subprocess.run([kubectl, "kustomize", directory], check=True, stdout=subprocess.PIPE, text=True).stdout


def shipped() -> list[tuple[str, Path]]:
    found = []
    for file in sorted(K8S.rglob("kustomization.yaml")):
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization":
            found.append((file.parent.name, file.parent))
    return found


def of_the_readme() -> list[tuple[str, Path]]:
    """Every kustomization of k8s/README.md, unchanged, with the example's Deployment."""
    blocks = dict(re.findall(r"^```yaml\n# ([^\n]+)\n(.*?)^```", (K8S / "README.md").read_text(), re.M | re.S))
    shown = {title: text for title, text in blocks.items() if title.startswith("kustomization.yaml")}
    assert len(shown) == 6, shown.keys()
    made = []
    for title, text in shown.items():
        name = "readme" if title == "kustomization.yaml" else "readme-" + re.sub(r".* ", "", title).lower()
        directory = fresh(name)
        # the path of the clone on the page
        (directory / "kustomization.yaml").write_text(text.replace("../apigw-invoker/", "../../../../"))
        of_a_role = name in ("readme-irsa", "readme-identity")
        route = "orders.yaml, with the keys of a role" if of_a_role else "orders.yaml"
        (directory / "orders.yaml").write_text(blocks[route])
        shutil.copy(K8S / "examples/client/deployment.yaml", directory)
        made.append((name, directory))
    return made


def beside_every_workload() -> list[tuple[str, Path]]:
    made = []
    for kind, version in WORKLOADS.items():
        for identity in ["irsa", "pod-identity"]:
            name = f"beside-{kind.lower()}-{identity}"
            directory = fresh(name)
            (directory / "workload.yaml").write_text(yaml.safe_dump(workload(kind, version)))
            route = "uri: /*\napi_gateway:\n  function_uri: https://a.example/\n  authorization: { iam: {} }\n"
            (directory / "all.yaml").write_text(route)
            k8s = "../../../../k8s"
            kustomization = {
                "resources": ["workload.yaml"],
                "components": [f"{k8s}/sidecar", f"{k8s}/network", f"{k8s}/identity/{identity}"],
                "generatorOptions": {"disableNameSuffixHash": True},
                "configMapGenerator": [{"name": "apigw-invoker-routes", "files": ["all.yaml"]}],
                "namePrefix": "shop-",
                "namespace": "shop",
            }
            (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
            made.append((name, directory))
    return made


def workload(kind: str, version: str) -> dict:
    labels = {"app": "a"}
    container = {"image": "a.example/a:1", "name": "a"}
    pod = {"initContainers": [container | {"name": "first"}], "containers": [container]}
    spec = {"template": {"metadata": {"labels": labels}, "spec": pod}}
    if kind == "Job":
        pod["restartPolicy"] = "Never"
    else:
        spec["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        spec["serviceName"] = "a"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def fresh(name: str) -> Path:
    directory = WORK / "made" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def check_references(name: str, document: dict, documents: list[dict]) -> None:
    """Checks that a pod's references exist, and that the sidecar is its first container and keeps running."""
    # the base of the other examples has no sidecar
    if document["kind"] not in WORKLOADS or name == "client":
        return
    pod = document["spec"]["template"]["spec"]
    there = {(other["kind"], other["metadata"]["name"]) for other in documents}
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in there, f"{name}: {volume} leads nowhere"
    if "serviceAccountName" in pod:
        assert ("ServiceAccount", pod["serviceAccountName"]) in there, f"{name}: no {pod['serviceAccountName']}"
    first = pod.get("initContainers", pod["containers"])[0]
    assert first["name"] == "apigw-invoker", f"{name}: the sidecar does not come first"
    stays = "initContainers" not in pod or first.get("restartPolicy") == "Always"
    assert stays, f"{name}: the sidecar does not stay"


main()
