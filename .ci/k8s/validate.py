"""Validates what render.py rendered: Kubernetes' schemas, those of the Prometheus operator and Kyverno, policies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from cloudcoil.models.kyverno import v1 as kyverno
from cloudcoil.models.prometheus_operator import v1 as operator

from workloads import containers, pods

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = Path(sys.argv[1])
BIN = Path(sys.executable).parent

# the three newest versions in kubernetes-validate
VERSIONS = ["1.35", "1.36", "1.37"]
# kinds of the Prometheus operator and of Kyverno
CUSTOM = {
    "PodMonitor": operator.PodMonitor,
    "PrometheusRule": operator.PrometheusRule,
    "ClusterPolicy": kyverno.ClusterPolicy,
}
# kinds without a model here, which injection.py compares
UNKNOWN = {"MutatingPolicy"}
# files with applications that are not of k8s/
OTHERS = ("beside-", "injected-", "two", "client", "readme-library")
# MutatingAdmissionPolicy before 1.36
BETA = "admissionregistration.k8s.io/v1beta1"
# the first version with these kinds as they are written
SINCE = {"injection": "1.36", "readme-injection": "1.36"}


def main() -> None:
    plain = WORK / "plain"
    plain.mkdir(exist_ok=True)
    for old in plain.iterdir():
        old.unlink()
    for file in sorted((WORK / "rendered").glob("*.yaml")):
        documents = list(yaml.safe_load_all(file.read_text()))
        for document in documents:
            if document["kind"] in CUSTOM:
                check_custom(document)
        known = [document for document in documents if document["kind"] not in CUSTOM.keys() | UNKNOWN]
        if known:
            (plain / file.name).write_text(yaml.safe_dump_all(known))
    files = sorted(plain.glob("*.yaml"))
    # without other applications
    shipped = [file for file in files if not file.stem.startswith(OTHERS)]
    for version in VERSIONS:
        known = [file for file in files if version >= SINCE.get(file.stem, version)]
        run(BIN / "kubernetes-validate", "--strict", "--quiet", "-k", version, *known)
        print(f"{len(known)} files of manifests are right for Kubernetes {version}")
    check_beta(plain)
    # the page's application has no security context
    restricted = [file for file in files if file.stem != "readme-library"]
    for file in restricted:
        check_restricted(file)
    print(f"the pods of {len(restricted)} files hold the Pod Security Standard \"restricted\"")
    for policy in (ROOT / "k8s/identity").rglob("*.json"):
        assert json.loads(policy.read_text())["Version"] == "2012-10-17", policy
    checkov = [BIN / "checkov", "--config-file", HERE / "checkov.yaml"]
    run(*checkov, "--framework", "kubernetes", "--file", *shipped)
    run(*checkov, "--framework", "dockerfile", "--file", ROOT / "k8s/Dockerfile")
    run(BIN / "hadolint", ROOT / "k8s/Dockerfile")
    print("checkov and hadolint have nothing to say")


def check_beta(plain: Path) -> None:
    """k8s/injection in Kubernetes 1.35, as its kustomization says."""
    text = (plain / "injection.yaml").read_text().replace("admissionregistration.k8s.io/v1\n", f"{BETA}\n")
    kustomization = (ROOT / "k8s/injection/kustomization.yaml").read_text()
    assert text.count(BETA) == 2 and f"`apiVersion: {BETA}`" in kustomization, text
    (WORK / "made/injection-beta.yaml").write_text(text)
    run(BIN / "kubernetes-validate", "--strict", "--quiet", "-k", "1.35", WORK / "made/injection-beta.yaml")


def check_custom(document: dict) -> None:
    """The model drops unknown keys, so its output differs if there are some."""
    model = CUSTOM[document["kind"]].model_validate(document)
    back = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert back == document, f"{document['kind']} has keys that its model does not know: {document} {back}"


def check_restricted(file: Path) -> None:
    """Checks the Pod Security Standard "restricted" (kubernetes.io/docs/concepts/security)."""
    for pod in pods(list(yaml.safe_load_all(file.read_text()))):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), file
        assert all({"configMap", "secret", "emptyDir"} & volume.keys() for volume in pod.get("volumes", [])), file
        for container in containers(pod):
            assert not any("hostPort" in port for port in container.get("ports", [])), container
            context = pod.get("securityContext", {}) | container["securityContext"]
            assert context["runAsNonRoot"] is True and context.get("runAsUser") != 0, container
            assert context["allowPrivilegeEscalation"] is False and not context.get("privileged"), container
            assert context["capabilities"] == {"drop": ["ALL"]}, container
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, container


def run(*command: object) -> None:
    # keeps checkov from contacting its vendor's server
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "BC_SKIP_MAPPING": "TRUE"}
    if subprocess.run([str(part) for part in command], env=environment).returncode:
        sys.exit(f"{Path(str(command[0])).name} has found something")


main()
