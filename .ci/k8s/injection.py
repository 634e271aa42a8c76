"""Applies the policies of k8s/injection to pods with and without the label, twice, and compares what they add with
k8s/sidecar. The results become WORK/rendered/injected-*.yaml, which the next steps validate and run.
"""

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jmespath
import yaml

import cel
from workloads import PATCHED, SIDECAR, check_pods, pods, workload

K8S = Path(__file__).resolve().parents[2] / "k8s"
WORK = Path(sys.argv[1])
LABEL = {SIDECAR: "true"}
ROUTES = "apigw-invoker/routes"

Mutate = Callable[[dict], dict]


def main() -> None:
    (WORK / "made/kyverno").mkdir(parents=True, exist_ok=True)
    policies = {"policy": by_the_api_server(), "kyverno": by_kyverno(), "mutating-policy": by_mutating_policy()}
    for name, mutate in policies.items():
        check(mutate)
        write(f"injected-{name}", mutate(labelled()))
        print(f"{name}: a labelled pod gets the sidecar of k8s/sidecar once, and other pods stay as they are")
    check_types()


def labelled(**metadata: object) -> dict:
    pod = workload("Pod", "v1")
    pod["metadata"]["labels"] |= LABEL
    pod["metadata"] |= metadata
    return pod


def check(mutate: Mutate) -> None:
    template = yaml.safe_load((K8S / "sidecar/pod.yaml").read_text())["spec"]["template"]["spec"]
    volumes = copy.deepcopy(template["volumes"])
    # only the routes have to be there
    volumes[0]["configMap"]["optional"] = True

    def added(pod: dict) -> None:
        before = copy.deepcopy(pod)
        after = mutate(pod)
        assert pod == before, "the policy has changed its input"
        assert after["metadata"] == pod["metadata"], after["metadata"]
        own = pod["spec"].get("initContainers", [])
        assert after["spec"]["initContainers"] == [*template["initContainers"], *own], after["spec"]
        assert by_name(after["spec"]["volumes"]) == by_name([*pod["spec"].get("volumes", []), *volumes]), after["spec"]
        kept = {key: value for key, value in after["spec"].items() if key not in ("initContainers", "volumes")}
        assert kept == {key: pod["spec"][key] for key in kept} and set(pod["spec"]) <= set(after["spec"]), kept
        assert mutate(after) == after, "the sidecar is added twice"

    added(labelled())
    bare = labelled()
    del bare["spec"]["initContainers"]
    added(bare)
    with_volumes = labelled()
    with_volumes["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    added(with_volumes)
    added(labelled(annotations={"other": "annotation"}))
    # as a ReplicaSet creates pods
    unnamed = labelled(generateName="a-7d9f-")
    del unnamed["metadata"]["name"]
    added(unnamed)
    in_the_cluster = labelled()
    in_the_cluster["spec"]["hostNetwork"] = False
    added(in_the_cluster)
    # only the name decides
    similar = labelled()
    similar["spec"]["containers"][0]["name"] = f"{SIDECAR}-client"
    added(similar)

    of_another = mutate(labelled(annotations={ROUTES: "bank-routes"}))
    names = [volume["configMap"]["name"] for volume in of_another["spec"]["volumes"] if "configMap" in volume]
    assert sorted(names) == ["apigw-invoker", "bank-routes"], names

    unlabelled, other_value, on_the_node = workload("Pod", "v1"), labelled(), labelled()
    other_value["metadata"]["labels"][SIDECAR] = "false"
    on_the_node["spec"]["hostNetwork"] = True
    without_labels = labelled()
    del without_labels["metadata"]["labels"]
    for pod in [unlabelled, other_value, on_the_node, without_labels, *rendered_pods()]:
        assert mutate(pod) == pod, pod


def by_name(volumes: list[dict]) -> list[dict]:
    # lists of volumes have no order that matters
    return sorted(volumes, key=lambda volume: volume["name"])


def rendered_pods() -> list[dict]:
    """Pods that have the sidecar by kustomize, as their controllers create them."""
    found = []
    for name in [*(f"beside-{kind.lower()}-irsa" for kind in PATCHED), "stand-alone", "application"]:
        for document in yaml.safe_load_all((WORK / f"rendered/{name}.yaml").read_text()):
            for spec in pods(document):
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": LABEL}, "spec": spec}
                found.append(pod)
    assert len(found) == len(PATCHED) + 2, len(found)
    return found


def by_the_api_server() -> Mutate:
    policy, binding = yaml.safe_load_all((K8S / "injection/policy.yaml").read_text())
    assert binding["spec"] == {"policyName": policy["metadata"]["name"]}, binding
    return lambda pod: cel.mutate(policy["spec"], pod)


def by_mutating_policy() -> Mutate:
    """Kyverno's MutatingPolicy: only its fields are those of the policy, no Kyverno evaluates it here."""
    directory = WORK / "made/mutating-policy"
    directory.mkdir(exist_ok=True)
    above = "../../../../k8s/injection"
    kustomization = {"resources": [above], "components": [f"{above}/mutating-policy"]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    policy = yaml.safe_load(kustomized(directory))
    assert (policy["apiVersion"], policy["kind"]) == ("policies.kyverno.io/v1", "MutatingPolicy"), policy
    spec = policy["spec"]
    assert spec.pop("autogen") == {"podControllers": {"controllers": []}}, spec
    native = next(yaml.safe_load_all((K8S / "injection/policy.yaml").read_text()))
    assert spec == native["spec"], spec
    return lambda pod: cel.mutate(spec, pod)


def by_kyverno() -> Mutate:
    policy = yaml.safe_load((K8S / "injection/kyverno/policy.yaml").read_text())
    (rule,) = policy["spec"]["rules"]
    ((match,),) = [rule["match"]["any"]]
    assert match["resources"]["kinds"] == ["Pod"] and match["resources"]["operations"] == ["CREATE"], match

    def mutate(pod: dict) -> dict:
        if not match["resources"]["selector"]["matchLabels"].items() <= pod["metadata"].get("labels", {}).items():
            return pod
        if not all(holds(condition, pod) for condition in rule["preconditions"]["all"]):
            return pod
        return merged(pod, substituted(rule["mutate"]["patchStrategicMerge"], pod))

    return mutate


def holds(condition: dict, pod: dict) -> bool:
    key = substituted(condition["key"], pod)
    match condition["operator"]:
        case "Equals":
            return key == condition["value"]
        case "AllNotIn":
            return not set(key) & set(condition["value"])
    raise AssertionError(condition)


def substituted(value: object, pod: dict) -> object:
    """A value with its JMESPath expressions evaluated."""
    if isinstance(value, dict):
        return {key: substituted(inner, pod) for key, inner in value.items()}
    if isinstance(value, list):
        return [substituted(inner, pod) for inner in value]
    if isinstance(value, str) and (found := re.fullmatch(r"\{\{(.*)\}\}", value)):
        return jmespath.search(found[1].strip(), {"request": {"object": pod}})
    assert not (isinstance(value, str) and "{{" in value), value
    return value


def merged(pod: dict, patch: dict) -> dict:
    """Kyverno merges by kustomize's filter (pkg/engine/mutate/patch/strategicMergePatch.go)."""
    directory = WORK / "made/kyverno"
    # kustomize needs a name
    named = pod | {"metadata": {"name": "a"} | pod["metadata"]}
    (directory / "pod.yaml").write_text(yaml.safe_dump(named))
    header = {key: pod[key] for key in ["apiVersion", "kind"]} | {"metadata": {"name": named["metadata"]["name"]}}
    (directory / "patch.yaml").write_text(yaml.safe_dump(header | patch))
    kustomization = {"resources": ["pod.yaml"], "patches": [{"path": "patch.yaml"}]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return yaml.safe_load(kustomized(directory)) | {"metadata": pod["metadata"]}


def kustomized(directory: Path) -> str:
    kubectl = Path(sys.executable).parent / "kubectl"
    return subprocess.run([kubectl, "kustomize", directory], check=True, stdout=subprocess.PIPE, text=True).stdout


def check_types() -> None:
    """The check of types finds a name that is not its field's."""
    wrong = 'JSONPatch{value: Object.spec.initContainers{env: [Object.spec.initContainers.ports{name: "a"}]}}'
    try:
        cel.as_maps(wrong)
    except AssertionError as error:
        assert "Object.spec.initContainers.env" in str(error), error
    else:
        raise AssertionError("a wrong type is not found")


def write(name: str, pod: dict) -> None:
    route = "uri: /*\napi_gateway:\n  function_uri: https://a.example/\n  authorization: { iam: {} }\n"
    metadata = {"name": "apigw-invoker-routes"}
    routes = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"orders.yaml": route}}
    check_pods(name, [pod, routes])
    (WORK / f"rendered/{name}.yaml").write_text(yaml.safe_dump_all([pod, routes]))


main()
