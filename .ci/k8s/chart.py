"""Renders the chart and the library chart by helm, and compares each object with kustomize's, so that neither drifts.

The results become WORK/rendered/chart*.yaml, which the next steps validate and run.
"""

import copy
import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

from helm import CHART, LIBRARY, ROOT, ROUTE, WORK, helm, render, write
from workloads import PATCHED, SIDECAR, containers, pods, workload

K8S = ROOT / "k8s"
# labels that Helm's conventions ask for
HELMS = {f"app.kubernetes.io/{name}" for name in ["instance", "version", "managed-by"]} | {"helm.sh/chart"}


def main() -> None:
    check_versions()
    objects = {name: render(CHART, name, "--set-file", f"routes.orders={ROUTE}") for name in ["apigw-invoker", "shop"]}
    stand_alone = rendered("stand-alone")
    for release, documents in objects.items():
        compare(f"release {release}", of_release(documents, release), stand_alone)
    write("chart", objects["shop"])
    monitored = render(CHART, "apigw-invoker", "--set-file", f"routes.orders={ROUTE}", "--set=podMonitor.enabled=true")
    monitor = [document for document in rendered("monitoring") if document["kind"] == "PodMonitor"]
    # kustomize's is once for a cluster
    del monitor[0]["spec"]["namespaceSelector"]
    compare("PodMonitor", monitored, [*stand_alone, *monitor])
    library()
    options(K8S / "examples/application/routes/orders.yaml")


def rendered(name: str) -> list[dict]:
    return list(yaml.safe_load_all((WORK / f"rendered/{name}.yaml").read_text()))


def of_release(documents: list[dict], release: str) -> list[dict]:
    """The objects with the names of a release `apigw-invoker`."""
    name = f"{release}-{SIDECAR}"
    return json.loads(json.dumps(documents).replace(name, SIDECAR))


def compare(what: str, of_helm: list[dict], of_kustomize: list[dict]) -> None:
    left, right = by_name(of_helm), by_name(of_kustomize)
    assert left.keys() == right.keys(), f"{what}: {left.keys() ^ right.keys()}"
    for key, document in left.items():
        assert document == right[key], f"{what}: {key}:\n{yaml.safe_dump(document)}\n{yaml.safe_dump(right[key])}"
    print(f"{what}: {len(left)} objects are those of kustomize: {', '.join(kind for kind, _ in left)}")


def by_name(documents: list[dict]) -> dict[tuple[str, str], dict]:
    return {(d["kind"], d["metadata"]["name"]): comparable(d) for d in documents}


def comparable(document: dict) -> dict:
    """Without Helm's labels, the image's registry, and the order of lists that have none."""
    document = copy.deepcopy(document)
    labels = document["metadata"].get("labels", {})
    for selector in [document.get("spec", {}).get(key, {}).get("matchLabels", {}) for key in ["podSelector", "selector"]]:
        # kustomize's NetworkPolicy and PodMonitor select by this label alone
        if SIDECAR in selector:
            selector.pop("app.kubernetes.io/name", None)
    labels.pop("app.kubernetes.io/name", None)
    strip(document)
    if not labels:
        document["metadata"].pop("labels", None)
    if document["kind"] == "ConfigMap":
        document["data"] = {name: yaml.safe_load(text) for name, text in document["data"].items()}
    for pod in pods(document):
        pod["volumes"].sort(key=lambda volume: volume["name"])
        for container in containers(pod):
            if container["name"] == SIDECAR:
                container["image"] = container["image"].rpartition("/")[2]
            for key in ["env", "ports", "volumeMounts"]:
                container.get(key, []).sort(key=lambda entry: entry["name"])
    return document


def strip(value: object) -> None:
    if isinstance(value, dict):
        for key in HELMS & value.keys():
            del value[key]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            strip(inner)


TEMPLATE = """
{{- $values := index .Values "apigw-invoker-sidecar" -}}
{{- $sidecar := dict "values" $values "name" "apigw-invoker" "template" (include "shop.pod" .) -}}
{{- include "apigw-invoker.configMaps" $sidecar }}
---
HEADER
  HERE
    {{- include "apigw-invoker.sidecar" $sidecar | nindent INDENT }}
"""


def library() -> None:
    """A chart of somebody's, with the library: the same pods as by the component."""
    client = yaml.safe_load((K8S / "examples/client/deployment.yaml").read_text())
    route = K8S / "examples/application/routes/orders.yaml"
    here = of_library("client", client, route)
    write("chart-sidecar", here)
    kinds = ["ConfigMap", "Deployment"]
    compare("library", here, [document for document in rendered("application") if document["kind"] in kinds])
    for kind, version in PATCHED.items():
        made = of_library(kind.lower(), workload(kind, version), route)
        expected = rendered(f"beside-{kind.lower()}-irsa")
        pod, other = (next(pods([d for d in documents if d["kind"] == kind])) for documents in [made, expected])
        # of identity/irsa
        del other["serviceAccountName"]
        names = json.loads(json.dumps(other).replace("shop-apigw", "apigw"))
        for spec in [pod, names]:
            spec["volumes"].sort(key=lambda volume: volume["name"])
        assert pod == names, f"{kind}:\n{yaml.safe_dump(pod)}\n{yaml.safe_dump(names)}"
    print(f"library: the pods of {', '.join(PATCHED)} are those of kustomize")

    twice, on_the_node = workload("Deployment", "apps/v1"), workload("DaemonSet", "apps/v1")
    twice["spec"]["template"]["spec"]["containers"][0]["name"] = SIDECAR
    on_the_node["spec"]["template"]["spec"]["hostNetwork"] = True
    for name, wrong, told in [
        ("twice", twice, "has a container apigw-invoker already"),
        ("none", {}, "has no spec"),
        ("node", on_the_node, "has hostNetwork"),
    ]:
        done = run_library(name, wrong, "--set-file", f"apigw-invoker-sidecar.routes.orders={route}")
        assert done.returncode and told in done.stderr, done.stderr
    done = run_library("no-route", client)
    assert done.returncode and "there is no route: set `routes`, `routesConfigMap`" in done.stderr, done.stderr


def options(route: Path) -> None:
    """Values of the library that the chart does not use alike, and two workloads with their own routes."""
    workers = {"settings": {"workers": 2}, "adminPort": 9181, "routes": {"orders": route.read_text()}}
    (pod,) = values_of_library("options", workers)
    assert pod["metadata"]["annotations"].keys() == {"own", "apigw-invoker/restart"}, pod["metadata"]
    sidecar = pod["spec"]["initContainers"][0]
    assert sidecar["ports"][0]["containerPort"] == 9181 and sidecar["env"][0]["value"] == "[::]:9181", sidecar
    (pod,) = values_of_library("source", {"settingsSource": {"value": "s3://bucket/settings.tar.gz"}})
    mounts = [mount["name"] for mount in pod["spec"]["initContainers"][0]["volumeMounts"]]
    assert mounts == ["apigw-invoker-cache", "apigw-invoker-keys"], mounts
    of_each = [{"routes": {name: route.read_text()}} for name in ["orders", "bank"]]
    pods_of_both = values_of_library("aliases", *of_each)
    names = [volume["configMap"]["name"] for pod in pods_of_both for volume in pod["spec"]["volumes"][:2]]
    assert names == ["shop-a", "shop-a-routes", "shop-b", "shop-b-routes"], names
    print("library: a settings source, another admin port, and two workloads with routes of their own")


def values_of_library(name: str, *values: dict) -> list[dict]:
    """The pod templates of a chart with a workload for each of these values, by an alias each."""
    aliases = "ab"[: len(values)]
    chart = chart_with_library(name, [{"alias": alias} for alias in aliases])
    (chart / "values.yaml").write_text(yaml.safe_dump(dict(zip(aliases, values, strict=True))))
    pod = workload("Deployment", "apps/v1")["spec"]["template"]
    pod["metadata"]["annotations"] = {"own": "annotation"}
    data = {"name": "data", "emptyDir": {}}
    pod["spec"]["volumes"] = [data]
    text = "".join(
        f'{{{{- $of := dict "values" .Values.{alias} "name" "shop-{alias}" "template" (include "shop.pod" .) }}}}\n'
        f'{{{{ include "apigw-invoker.configMaps" $of }}}}\n---\nkind: Deployment\nmetadata: {{ name: {alias} }}\n'
        f'spec:\n  template:\n    {{{{- include "apigw-invoker.sidecar" $of | nindent 4 }}}}\n---\n'
        for alias in aliases
    )
    (chart / "templates/workload.yaml").write_text(text)
    (chart / "templates/_pod.tpl").write_text(f'{{{{- define "shop.pod" -}}}}\n{yaml.safe_dump(pod)}{{{{- end -}}}}\n')
    documents = render(chart, "shop")
    routes = {name for d in documents if d["kind"] == "ConfigMap" for name in d["data"]} - {"default.yaml"}
    assert routes == {f"{route}.yaml" for of in values for route in of.get("routes", {})}, routes
    made = [document["spec"]["template"] for document in documents if document["kind"] == "Deployment"]
    assert all(template["spec"]["volumes"].pop(0) == data for template in made), made
    return made


def of_library(name: str, application: dict, route: Path) -> list[dict]:
    done = run_library(name, application, "--set-file", f"apigw-invoker-sidecar.routes.orders={route}")
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def run_library(name: str, application: dict, *arguments: str) -> subprocess.CompletedProcess[str]:
    chart = chart_with_library(name, [{}])
    header, indent = copy.deepcopy(application), 4
    spec, here = header.get("spec", {}), ["template:"]
    if header.get("kind") == "CronJob":
        indent, here = 8, ["jobTemplate:", "    spec:", "      template:"]
        spec = spec.pop("jobTemplate")["spec"]
    template = spec.pop("template", {})
    header.pop("spec", None)
    above = f"{yaml.safe_dump(header)}spec:\n{indented(yaml.safe_dump(spec)) if spec else ''}"
    text = TEMPLATE.replace("HEADER", above.strip())
    text = text.replace("HERE", "\n".join(here)).replace("INDENT", str(indent))
    (chart / "templates/workload.yaml").write_text(text)
    (chart / "templates/_pod.tpl").write_text(f'{{{{- define "shop.pod" -}}}}\n{yaml.safe_dump(template)}{{{{- end -}}}}\n')
    return helm("template", "shop", chart, "--kube-version=1.37.0", *arguments)


def chart_with_library(name: str, dependencies: list[dict]) -> Path:
    chart = WORK / "made" / f"helm-{name}"
    shutil.rmtree(chart, ignore_errors=True)
    (chart / "templates").mkdir(parents=True)
    shutil.copytree(LIBRARY, chart / "charts/apigw-invoker-sidecar")
    library = {"name": "apigw-invoker-sidecar", "version": version_of(LIBRARY)}
    about = {"apiVersion": "v2", "name": "shop", "version": "1.0.0"}
    about["dependencies"] = [library | dependency for dependency in dependencies]
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    return chart


def indented(text: str) -> str:
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))


def version_of(chart: Path) -> str:
    return yaml.safe_load((chart / "Chart.yaml").read_text())["version"]


def check_versions() -> None:
    """The program, both charts and the images have one version."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    for chart in [CHART, LIBRARY]:
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert about["version"] == about["appVersion"] == version, about
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"][0]["version"] == version
    assert f'"apigw-invoker.version" -}}}}\n{version}\n' in (LIBRARY / "templates/_sidecar.tpl").read_text()
    for file in ["sidecar/pod.yaml", "injection/policy.yaml", "injection/kyverno/policy.yaml"]:
        assert f"apigw-invoker:{version}" in (K8S / file).read_text(), file



main()
