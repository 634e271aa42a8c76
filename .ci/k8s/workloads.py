"""The pods inside of rendered objects, whatever their kind, and workloads of every kind as an application's."""

from collections.abc import Iterator

# kinds that k8s/sidecar patches
PATCHED = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
# kinds with a pod that it does not patch, which k8s/README.md names
OTHERS = {
    "Pod": "v1",
    "ReplicaSet": "apps/v1",
    "Rollout": "argoproj.io/v1alpha1",
    "Service": "serving.knative.dev/v1",
}

SIDECAR = "apigw-invoker"


def pods(value: object) -> Iterator[dict]:
    """Every pod's spec in an object: the mappings with a list of containers."""
    if isinstance(value, dict):
        containers = value.get("containers")
        if isinstance(containers, list) and all("name" in c for c in containers):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def containers(pod: dict) -> list[dict]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def without_sidecar(documents: list[dict]) -> list[str]:
    """The objects with a pod that has no sidecar, as `Kind/name`."""
    return [
        f"{document['kind']}/{document['metadata']['name']}"
        for document in documents
        for pod in pods(document)
        if all(container["name"] != SIDECAR for container in containers(pod))
    ]


def check_pods(name: str, documents: list[dict]) -> None:
    """Checks that no object replaces another one, that what a pod refers to exists, and that the sidecar is its first
    container and keeps running.
    """
    there = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in documents]
    assert len(there) == len(set(there)), f"{name}: {there}"
    there = {(kind, own) for kind, _, own in there}
    for pod in pods(documents):
        for volume in pod.get("volumes", []):
            if "configMap" in volume and not volume["configMap"].get("optional"):
                assert ("ConfigMap", volume["configMap"]["name"]) in there, f"{name}: {volume} leads nowhere"
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in there, f"{name}: no {pod['serviceAccountName']}"
        names = [container["name"] for container in containers(pod)]
        assert len(names) == len(set(names)), f"{name}: {names}"
        if SIDECAR in names:
            assert names[0] == SIDECAR, f"{name}: the sidecar does not come first"
            stays = "initContainers" not in pod or pod["initContainers"][0].get("restartPolicy") == "Always"
            assert stays, f"{name}: the sidecar does not stay"


def workload(kind: str, version: str, name: str = "a") -> dict:
    """An application by the Pod Security Standard "restricted", with an init container of its own."""
    labels = {"app": name}
    container = {
        "image": "a.example/a:1",
        "name": name,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [container | {"name": "first"}],
        "containers": [container],
    }
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
    if kind == "Pod":
        return made | {"metadata": {"name": name, "labels": labels}, "spec": pod}
    spec = {"template": {"metadata": {"labels": labels}, "spec": pod}}
    if kind in ("Job", "CronJob"):
        pod["restartPolicy"] = "Never"
    elif kind != "Service":
        spec["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    if kind == "CronJob":
        spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": spec}}
    return made | {"spec": spec}
