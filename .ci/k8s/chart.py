"""Renders the chart and the library chart by helm, and compares each object with kustomize's, so that neither drifts.

The results become WORK/rendered/chart*.yaml, which the next steps validate and run.
"""

import copy
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from workloads import PATCHED, SIDECAR, check_pods, containers, pods, workload

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
CHART = K8S / "chart"
LIBRARY = CHART / "charts/apigw-invoker-sidecar"
WORK = Path(sys.argv[1])
HELM = Path(sys.executable).parent / "helm"
ROUTE = K8S / "examples/stand-alone/routes/orders.yaml"
# labels that Helm's conventions ask for
HELMS = {f"app.kubernetes.io/{name}" for name in ["instance", "version", "managed-by"]} | {"helm.sh/chart"}


def main() -> None:
    check_versions()
    objects = {name: render(CHART, name, "--set-file", f"routes.orders={ROUTE}") for name in ["apigw-invoker", "shop"]}
    stand_alone = rendered("stand-alone")
    for release, documents in objects.items():
        compare(f"release {release}", of_release(documents, release), stand_alone)
    write("chart", objects["shop"])
    names = {document["metadata"]["name"] for document in render(CHART, "a.b", "--set-file", f"routes.orders={ROUTE}")}
    assert all(name.startswith("a-b-apigw-invoker") for name in names), names
    monitored = render(CHART, "apigw-invoker", "--set-file", f"routes.orders={ROUTE}", "--set=podMonitor.enabled=true")
    monitor = [document for document in rendered("monitoring") if document["kind"] == "PodMonitor"]
    # kustomize's is once for a cluster
    del monitor[0]["spec"]["namespaceSelector"]
    compare("PodMonitor", monitored, [*stand_alone, *monitor])
    write("chart-all", every_value())
    library()
    check_schema()


def render(chart: Path, release: str, *arguments: str) -> list[dict]:
    done = helm("template", release, chart, "--kube-version=1.37.0", *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    home = {f"HELM_{name}_HOME": str(WORK / "helm") for name in ["CACHE", "CONFIG", "DATA"]}
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, env=home)


def rendered(name: str) -> list[dict]:
    return list(yaml.safe_load_all((WORK / f"rendered/{name}.yaml").read_text()))


def write(name: str, documents: list[dict]) -> None:
    of_the_user = {"kind": "ConfigMap", "metadata": {"name": "own-routes"}}
    check_pods(name, [*documents, of_the_user])
    (WORK / f"rendered/{name}.yaml").write_text(yaml.safe_dump_all(documents))


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


def every_value() -> list[dict]:
    """The chart with every value changed, each of which must be found in the objects."""
    volume = {"name": "tls", "secret": {"secretName": "certificate"}}
    values = {
        "image": {"repository": "registry.example.com/invoker", "tag": "9.9.9", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull-secret"}],
        "nameOverride": "signer",
        "settings": "log: { level: warn }\n",
        "routesConfigMap": "own-routes",
        "keysSecret": "own-keys",
        "serviceAccount": {"name": "own-account", "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
        "trustedIps": "192.0.2.0/24",
        "shutdownDelay": "11s",
        "terminationGracePeriodSeconds": 6571,
        "service": {"type": "NodePort", "port": 8081, "annotations": {"a": "service-note"}, "labels": {"a": "service-label"}},
        "resources": {"requests": {"cpu": "77m", "memory": "33Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}},
        "autoscaling": {"enabled": False},
        "replicas": 6543,
        "podDisruptionBudget": {"maxUnavailable": "34%"},
        "networkPolicy": {
            "egress": {"extra": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}]},
            "ingress": {
                "clients": [{"podSelector": {"matchLabels": {"clients": "own"}}}],
                "monitoring": [{"podSelector": {"matchLabels": {"monitoring": "own"}}}],
            },
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        "extraVolumes": [volume],
        "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        "podLabels": {"a": "pod-label"},
        "podAnnotations": {"a": "pod-note"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 55, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}},
        ]}},
    }
    standard = yaml.safe_load((CHART / "values.yaml").read_text())
    left = standard.keys() - values.keys() - {"fullnameOverride", "routes"}
    assert not left, f"not changed here: {left}"
    documents = with_values(values)
    told = json.dumps(documents)
    for leaf in leaves(values):
        assert json.dumps(leaf) in told or str(leaf) in told, f"{leaf} has no effect"
    kinds = [document["kind"] for document in documents]
    assert "HorizontalPodAutoscaler" not in kinds and kinds.count("ConfigMap") == 1, kinds

    least = {"podDisruptionBudget": {"enabled": False}, "networkPolicy": {"egress": {"enabled": False}, "ingress": {"enabled": False}}}
    off = with_values(least | {"serviceAccount": {"create": False}, "trustedIps": "", "routes": {"a": "uri: /a\n"}})
    assert sorted(d["kind"] for d in off) == ["ConfigMap", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Service"]
    pod = next(pods(off))
    assert pod["serviceAccountName"] == "default" and "TRUSTED_IPS" not in json.dumps(pod), pod
    print("every value of the chart has an effect")
    return documents


def with_values(values: dict) -> list[dict]:
    file = WORK / "made/values.yaml"
    file.write_text(yaml.safe_dump(values))
    return render(CHART, "shop", f"--values={file}")


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    # a text of several lines is found without its quotes
    return [] if isinstance(value, bool) else [value.strip() if isinstance(value, str) else value]


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

    twice = workload("Deployment", "apps/v1")
    twice["spec"]["template"]["spec"]["containers"][0]["name"] = SIDECAR
    for name, wrong, told in [("twice", twice, "has a container apigw-invoker already"), ("none", {}, "has no spec")]:
        done = run_library(name, wrong, "--set-file", f"apigw-invoker-sidecar.routes.orders={route}")
        assert done.returncode and told in done.stderr, done.stderr
    done = run_library("no-route", client)
    assert done.returncode and "there is no route: set `routes` or `routesConfigMap`" in done.stderr, done.stderr


def of_library(name: str, application: dict, route: Path) -> list[dict]:
    done = run_library(name, application, "--set-file", f"apigw-invoker-sidecar.routes.orders={route}")
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def run_library(name: str, application: dict, *arguments: str) -> subprocess.CompletedProcess[str]:
    chart = WORK / "made" / f"helm-{name}"
    shutil.rmtree(chart, ignore_errors=True)
    (chart / "templates").mkdir(parents=True)
    shutil.copytree(LIBRARY, chart / "charts/apigw-invoker-sidecar")
    dependency = {"name": "apigw-invoker-sidecar", "version": version_of(LIBRARY)}
    about = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
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


def check_schema() -> None:
    """The schema has the keys of values.yaml, and refuses what the templates cannot use."""
    for chart in [CHART, LIBRARY]:
        schema = json.loads((chart / "values.schema.json").read_text())
        same_keys(chart.name, yaml.safe_load((chart / "values.yaml").read_text()), schema)
    route = ["--set-file", f"routes.orders={ROUTE}"]
    for wrong, told in [
        ([], "minProperties"),
        ([*route, "--set=imagee.tag=1"], "imagee"),
        ([*route, "--set=image.tga=1"], "tga"),
        ([*route, "--set=autoscaling.enabled=perhaps"], "/autoscaling/enabled"),
        ([*route, "--set=service.port=70000"], "/service/port"),
        ([*route, "--set=service.type=Cluster"], "/service/type"),
        ([*route, "--set=env[0].nam=A"], "/env/0"),
        ([*route, "--set=image.pullPolicy=always"], "/image/pullPolicy"),
        (["--set-file", f"routes.a/b={ROUTE}"], "/routes"),
        ([*route, "--set=settings=7"], "/settings"),
        ([*route, "--set=fullnameOverride=Upper"], "/fullnameOverride"),
    ]:
        done = helm("template", "shop", CHART, *wrong)
        assert done.returncode and told in done.stderr, f"{wrong}: {done.stderr}"
    done = helm("lint", "--strict", CHART, *route)
    assert done.returncode == 0, done.stdout + done.stderr
    print("the schemas refuse wrong values, and helm lint has nothing to say")


def same_keys(path: str, values: dict, schema: dict) -> None:
    free = {"global", "apigw-invoker-sidecar", "claims"}
    assert values.keys() == schema["properties"].keys() - free, f"{path}: {values.keys() ^ schema['properties'].keys()}"
    for key, value in values.items():
        inner = schema["properties"][key]
        if isinstance(value, dict) and "properties" in inner:
            assert inner["additionalProperties"] is False, f"{path}.{key}"
            same_keys(f"{path}.{key}", value, inner)


main()
