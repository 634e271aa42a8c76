"""Changes every value of the chart alone, with right and wrong values: each must have an effect in the rendered objects, or
be refused with a sentence. What is rendered must be valid for Kubernetes.

The results become WORK/rendered/chart-*.yaml, which the next steps validate and run.
"""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import jsonschema
import kubernetes_validate
import yaml

from helm import CHART, LIBRARY, ROUTE, helm, render, write
from workloads import pods

STANDARD = yaml.safe_load((CHART / "values.yaml").read_text())
WITH_ROUTE = {"routes": {"orders": ROUTE.read_text()}}
KUBERNETES = "1.37"
VOLUME = {"name": "tls", "secret": {"secretName": "certificate"}}
SCHEMA = jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
# another value for each
CHANGED = {
    "image": {"repository": "registry.example.com/invoker", "tag": "9.9.9", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull-secret"}],
    "nameOverride": "signer",
    "fullnameOverride": "caller",
    "settings": "log: { format: text, level: warn }\n",
    "routes": {"bank": "uri: /bank\n"},
    "routesConfigMap": "own-routes",
    "settingsSource": {"value": "s3://bucket/settings.tar.gz"},
    "keysSecret": "own-keys",
    "serviceAccount": {"create": False, "name": "own-account", "annotations": {"eks.amazonaws.com/role-arn": "arn:x"}},
    "trustedIps": "192.0.2.0/24",
    "shutdownDelay": "11s",
    "terminationGracePeriodSeconds": 6571,
    "service": {"type": "NodePort", "port": 8081, "annotations": {"a": "service-note"}, "labels": {"a": "service-label"}},
    "resources": {"requests": {"cpu": "77m", "memory": "33Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}},
    "autoscaling": {"enabled": False, "minReplicas": 6, "maxReplicas": 77, "averageCpu": "333m"},
    "replicas": 6543,
    "podDisruptionBudget": {"enabled": False, "maxUnavailable": "34%"},
    "networkPolicy": {
        "egress": {"enabled": False, "extra": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}]},
        "ingress": {
            "enabled": False,
            "clients": [{"podSelector": {"matchLabels": {"clients": "own"}}}],
            "monitoring": [{"podSelector": {"matchLabels": {"monitoring": "own"}}}],
        },
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
    "adminPort": 9181,
    "extraVolumes": [VOLUME],
    "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    "podLabels": {"a": "pod-label"},
    "podAnnotations": {"a": "pod-note"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 55, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}},
    ]}},
}
# values that others need before they have an effect
BESIDE = {
    "replicas": {"autoscaling": {"enabled": False}},
    "podMonitor.labels": {"podMonitor": {"enabled": True}},
    "routesConfigMap": {"routes": {}},
    "settingsSource": {"routes": {}},
    "extraVolumeMounts": {"extraVolumes": [VOLUME]},
}
WRONG = [None, True, 7, -1, 1000000, "é", "a\nb", "1e3", ["a"], {"a": "b"}]
# objects of Kubernetes that the chart hands on; the API server checks them
HANDED_ON = {"affinity"}


def main() -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check_effect, leaves(STANDARD)))
        print("every value of the chart has an effect")
        cases = [(path, wrong) for path in leaves(STANDARD) for wrong in WRONG]
        # a section whose keys are all commented out
        cases += [((section,), None) for section, value in STANDARD.items() if isinstance(value, dict) and value]
        outcomes = list(pool.map(lambda case: outcome(*case), cases))
    print(f"of {len(outcomes)} odd values {outcomes.count('refused')} were refused, and no other made a wrong object")
    names()
    labels()
    restarts()
    write("chart-all", every_value())
    write("chart-source", with_values({"settingsSource": {"value": "http://127.0.0.1:8099/settings.tar.gz"}}))
    check_schemas()


def leaves(values: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "settings":
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def check_effect(path: tuple[str, ...]) -> None:
    changed, name = CHANGED, ".".join(path)
    for key in path:
        changed = changed[key]
    beside = WITH_ROUTE | copy.deepcopy(BESIDE.get(name, {}))
    before = json.dumps(with_values(beside if beside["routes"] else WITH_ROUTE))
    after = json.dumps(with_values(at(path, changed, beside)))
    assert after != before, f"{name} has no effect"
    for text in texts(changed):
        assert after.count(text) > before.count(text), f"{name}: {text} has no effect"


def at(path: tuple[str, ...], value: object, values: dict) -> dict:
    """The values with this one at its path."""
    made = copy.deepcopy(values)
    table = made
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value
    return made


def texts(value: object) -> list[str]:
    """What must be found of a value in the objects, as JSON without the quotes."""
    if isinstance(value, dict | list):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in texts(inner)]
    return [] if isinstance(value, bool) else [json.dumps(value).strip('"')]


def outcome(path: tuple[str, ...], wrong: object) -> str:
    name = ".".join(path)
    values = at(path, wrong, WITH_ROUTE | BESIDE.get(name, {}))
    # as helm, which takes longer
    if not SCHEMA.is_valid(merged(STANDARD, values)):
        return "refused"
    done = template(values)
    if done.returncode:
        for message in ["nil pointer", "YAML parse", "wrong type", "error calling"]:
            assert message not in done.stderr, f"{name}: {wrong!r}: {done.stderr}"
        return "refused"
    if path[0] not in HANDED_ON:
        check_valid(f"{name}: {wrong!r}", documents_of(done))
    return "rendered"


def merged(standard: dict, values: dict) -> dict:
    """The values over the standard ones; null removes a key."""
    made = standard | values
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(standard.get(key), dict):
            made[key] = merged(standard[key], value)
    return {key: value for key, value in made.items() if value is not None}


def check_valid(what: str, documents: list[dict]) -> None:
    for document in documents:
        if document["kind"] == "PodMonitor":
            continue
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(f"{what}: {document['kind']}: {error}") from error


def names() -> None:
    """Names that YAML would read as another type, long ones, and those that Kubernetes before 1.37 refuses."""
    for release in ["123", "true", "1e3", "0x1f", "null", "a.b", "a--b", "x" * 53]:
        documents = documents_of(template(WITH_ROUTE | {"podMonitor": {"enabled": True}}, release=release))
        check_valid(release, documents)
        for document in documents:
            about = document["metadata"]
            assert about["labels"]["app.kubernetes.io/instance"] == release, about
            if document["kind"] == "Service":
                assert len(about["name"]) <= 63 and "." not in about["name"], about
            if document["kind"] == "PodMonitor":
                # the pattern of the job in alerts.yaml
                assert about["name"].endswith("apigw-invoker"), about
    for name in ["nameOverride", "fullnameOverride", "keysSecret"]:
        check_valid(name, with_values(WITH_ROUTE | {name: "123"}))
    check_valid("routes", with_values({"routesConfigMap": "123"}))
    check_valid("account", with_values(WITH_ROUTE | {"serviceAccount": {"create": False, "name": "on"}}))
    refused = template(WITH_ROUTE, "--kube-version=1.36.0", release="1shop")
    assert refused.returncode and "would begin with a digit, which needs Kubernetes 1.37" in refused.stderr, refused.stderr
    for release in ["shop", "bank"]:
        documents = documents_of(template(WITH_ROUTE | {"podMonitor": {"enabled": True}}, release=release))
        specs = [document["spec"] for document in documents if "spec" in document]
        selectors = [spec[key] for spec in specs for key in ["podSelector", "selector"] if key in spec]
        selectors = [selector.get("matchLabels", selector) for selector in selectors]
        assert len(selectors) == 6 and all(s["app.kubernetes.io/instance"] == release for s in selectors), selectors
        assert all(s["app.kubernetes.io/name"] == "apigw-invoker" for s in selectors), selectors
    print("objects have valid names and labels, whatever the release's name")


def labels() -> None:
    """Labels that the chart needs cannot be replaced, nor be there twice, which strict readers of YAML refuse."""
    own = {"apigw-invoker": "false", "app.kubernetes.io/name": "other", "own": "label"}
    values = {"podLabels": own, "service": {"labels": own}, "podMonitor": {"enabled": True, "labels": own}}
    done = template(WITH_ROUTE | values)
    assert done.stdout.count("own: label") == 3 and "other" not in done.stdout, done.stdout
    (pod,) = [d["spec"]["template"]["metadata"]["labels"] for d in documents_of(done) if d["kind"] == "Deployment"]
    assert pod["apigw-invoker"] == "true", pod


def restarts() -> None:
    """Settings that a running pod does not take replace the pods, and others do not."""
    def pod(settings: object) -> dict:
        return next(d for d in with_values(WITH_ROUTE | {"settings": settings}) if d["kind"] == "Deployment")

    for settings in [{"workers": 2}, {"log": {"format": "text"}}, {"listen": {"unix": "/run/a"}}, "workers: 2\n"]:
        assert pod(settings) != pod({}), settings
    assert pod({"workers": 2}) != pod({"workers": 3})
    assert pod("") != pod({}), "without `log.format` the format is text"
    assert pod({"log": {"level": "warn"}, "limits": {"max_in_flight": 64}}) == pod({})


def every_value() -> list[dict]:
    values = copy.deepcopy(CHANGED)
    del values["routes"], values["fullnameOverride"], values["settingsSource"]
    del values["podDisruptionBudget"]["enabled"], values["serviceAccount"]["create"]
    for direction in ["egress", "ingress"]:
        del values["networkPolicy"][direction]["enabled"]
    documents = with_values(values)
    kinds = [document["kind"] for document in documents]
    assert "HorizontalPodAutoscaler" not in kinds and kinds.count("ConfigMap") == 1, kinds

    least = {"podDisruptionBudget": {"enabled": False}, "networkPolicy": {"egress": {"enabled": False}, "ingress": {"enabled": False}}}
    off = with_values(least | {"serviceAccount": {"create": False}, "trustedIps": "", "shutdownDelay": ""} | WITH_ROUTE)
    assert sorted(d["kind"] for d in off) == ["ConfigMap", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Service"]
    pod = next(pods(off))
    assert pod["serviceAccountName"] == "default" and pod["automountServiceAccountToken"] is False, pod
    assert "TRUSTED_IPS" not in json.dumps(pod) and "SHUTDOWN" not in json.dumps(pod), pod
    return documents


def with_values(values: dict) -> list[dict]:
    return yaml.safe_load(rendered(yaml.safe_dump(values)))


@cache
def rendered(values: str) -> str:
    return yaml.safe_dump(documents_of(template(yaml.safe_load(values))))


def template(values: dict, *arguments: str, release: str = "shop") -> subprocess.CompletedProcess[str]:
    version = [] if arguments else [f"--kube-version={KUBERNETES}.0"]
    return helm("template", release, CHART, "--values=-", *version, *arguments, text=yaml.safe_dump(values))


def documents_of(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def check_schemas() -> None:
    """The schemas have the keys of values.yaml, agree on what both charts have, and refuse what has no effect."""
    schemas = [json.loads((chart / "values.schema.json").read_text()) for chart in [CHART, LIBRARY]]
    for chart, schema in zip([CHART, LIBRARY], schemas, strict=True):
        same_keys(chart.name, yaml.safe_load((chart / "values.yaml").read_text()), schema)
    for key, value in schemas[1]["properties"].items():
        assert schemas[0]["properties"][key] == value, f"the schemas differ in {key}"
    route = ["--set-file", f"routes.orders={ROUTE}"]
    digest = f"sha256:{'0' * 64}"
    for wrong, told in [
        ([], "minProperties"),
        (["--set=routes=null"], "missing property 'routes'"),
        ([*route, "--set=service=null"], "missing property 'service'"),
        ([*route, "--set=imagee.tag=1"], "imagee"),
        ([*route, "--set=image.tga=1"], "tga"),
        ([*route, f"--set=image.tag=@{digest}"], "/image/tag"),
        ([*route, "--set=image.repository=registry.example.com/invoker:1"], "/image/repository"),
        ([*route, "--set=autoscaling.enabled=perhaps"], "/autoscaling/enabled"),
        ([*route, "--set=autoscaling.minReplicas=11"], "minReplicas is greater than autoscaling.maxReplicas"),
        ([*route, "--set=service.port=70000"], "/service/port"),
        ([*route, "--set=service.type=Cluster"], "/service/type"),
        ([*route, "--set=shutdownDelay=7"], "/shutdownDelay"),
        ([*route, "--set=env[0].nam=A"], "/env/0"),
        ([*route, "--set=env[0].name=APIGW_INVOKER__ADMIN__ADDRESS"], "is set by the chart, or twice"),
        ([*route, "--set=env[0].name=A,env[1].name=A"], "is set by the chart, or twice"),
        ([*route, "--set=image.pullPolicy=always"], "/image/pullPolicy"),
        (["--set-file", f"routes.a/b={ROUTE}"], "/routes"),
        ([*route, "--set=settings=7"], "/settings"),
        ([*route, "--set=settings.shutdown.delay=7s"], "shutdown.delay has no effect"),
        ([*route, "--set-json=settings=\"admin: { address: a }\""], "admin.address has no effect"),
        ([*route, "--set=routesConfigMap=own"], "routesConfigMap has the routes"),
        ([*route, "--set=serviceAccount.create=false,serviceAccount.annotations.a=b"], "have no effect without"),
        ([*route, "--set=settingsSource.value=s3://a/b"], "settingsSource has the routes"),
        (["--set=settingsSource.value=s3://a/b,settings.log.level=warn"], "settingsSource has the settings"),
        ([*route, "--set=fullnameOverride=Upper"], "/fullnameOverride"),
    ]:
        done = helm("template", "shop", CHART, *wrong)
        assert done.returncode and told in done.stderr, f"{wrong}: {done.stderr}"
    own = ["--set=env[0].name=APIGW_INVOKER__LOG__FORMAT,env[0].value=text"]
    assert "value: text" in helm("template", "shop", CHART, *route, *own).stdout, "env does not override settings"
    (container,) = next(pods(render(CHART, "shop", *route, f"--set=image.tag=0.1.0@{digest}")))["containers"]
    assert container["image"] == f"apigw-invoker:0.1.0@{digest}", container
    done = helm("lint", "--strict", CHART, *route)
    assert done.returncode == 0, done.stdout + done.stderr
    print("the schemas refuse wrong values, and helm lint has nothing to say")


def same_keys(path: str, values: dict, schema: dict) -> None:
    free = {"global", "apigw-invoker-sidecar", "claims"}
    assert values.keys() == schema["properties"].keys() - free, f"{path}: {values.keys() ^ schema['properties'].keys()}"
    for key, value in values.items():
        inner = schema["properties"][key]
        if isinstance(value, dict) and value and "properties" in inner:
            assert inner["additionalProperties"] is False, f"{path}.{key}"
            same_keys(f"{path}.{key}", value, inner)


main()
