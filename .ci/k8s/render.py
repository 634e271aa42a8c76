"""Renders every kustomization of k8s/, and the sidecar beside every kind of workload.

Each becomes WORK/rendered/NAME.yaml, from where the other scripts read it. No pod template may be without the sidecar.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from workloads import OTHERS, PATCHED, SIDECAR, check_pods, containers, pods, without_sidecar, workload

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
WORK = Path(sys.argv[1])

# renders without the sidecar
WITHOUT = {"client"}


def main() -> None:
    rendered = WORK / "rendered"
    shutil.rmtree(rendered, ignore_errors=True)
    rendered.mkdir(parents=True)
    check_patches_agree()
    made = [*shipped(), *beside_every_workload(), two_in_a_namespace()]
    for name, directory in made:
        text = kustomize(directory)
        (rendered / f"{name}.yaml").write_text(text)
        documents = list(yaml.safe_load_all(text))
        check_pods(name, documents)
        if name.startswith("beside-"):
            check_beside(name, documents)
        if name not in WITHOUT:
            assert not (left_out := without_sidecar(documents)), f"{name}: no sidecar in {left_out}"
        print(f"{name}: {', '.join(document['kind'] for document in documents)}")
    check_other_kinds()
    check_clash()
    check_remote()


def kustomize(directory: Path) -> str:
    return subprocess.run(kubectl(directory), check=True, stdout=subprocess.PIPE, text=True).stdout


def kubectl(directory: Path) -> list[object]:
    return [Path(sys.executable).parent / "kubectl", "kustomize", directory]


def shipped() -> list[tuple[str, Path]]:
    found = []
    for file in sorted(K8S.rglob("kustomization.yaml")):
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization":
            found.append((file.parent.name, file.parent))
    return found


def beside_every_workload() -> list[tuple[str, Path]]:
    made = []
    for kind, version in PATCHED.items():
        for identity in ["irsa", "pod-identity"]:
            name = f"beside-{kind.lower()}-{identity}"
            more = {"namePrefix": "shop-", "namespace": "shop"}
            made.append((name, with_sidecar(name, [workload(kind, version)], [f"identity/{identity}"], more)))
    return made


def with_sidecar(name: str, workloads: list[dict], components: list[str], more: dict) -> Path:
    """A kustomization of these workloads with the sidecar."""
    directory = fresh(name)
    (directory / "workload.yaml").write_text(yaml.safe_dump_all(workloads))
    route = "uri: /*\napi_gateway:\n  function_uri: https://a.example/\n  authorization: { iam: {} }\n"
    (directory / "all.yaml").write_text(route)
    write_kustomization(directory, {
        "resources": ["workload.yaml"],
        "components": [f"../../../../k8s/{component}" for component in ["sidecar", "network", *components]],
        "generatorOptions": {"disableNameSuffixHash": True},
        "configMapGenerator": [{"name": "apigw-invoker-routes", "files": ["all.yaml"]}],
        **more,
    })
    return directory


def write_kustomization(directory: Path, kustomization: dict) -> None:
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


def check_beside(name: str, documents: list[dict]) -> None:
    """The application keeps its init container after the sidecar, and the volumes follow the prefix."""
    (pod,) = pods(documents)
    names = [container["name"] for container in containers(pod)]
    assert names == [SIDECAR, "first", "a"], f"{name}: {names}"
    configured = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert configured == ["shop-apigw-invoker", "shop-apigw-invoker-routes"], configured


def two_in_a_namespace() -> tuple[str, Path]:
    """Two applications in one namespace, each with a prefix, as the README advises."""
    resources = []
    for prefix in ["shop", "bank"]:
        app = workload("Deployment", PATCHED["Deployment"])
        directory = with_sidecar(f"of-{prefix}", [app], ["identity/irsa"], {"namePrefix": f"{prefix}-"})
        resources.append(f"../{directory.name}")
    directory = fresh("two")
    write_kustomization(directory, {"resources": resources, "namespace": "both"})
    return "two", directory


def check_clash() -> None:
    """Without a prefix the names of two applications are the same, which is an error before anything is applied."""
    resources = []
    for name in ["one", "other"]:
        app = workload("Deployment", PATCHED["Deployment"], name)
        resources.append(f"../{with_sidecar(f'of-{name}', [app], [], {}).name}")
    directory = fresh("clash")
    write_kustomization(directory, {"resources": resources})
    done = subprocess.run(kubectl(directory), capture_output=True, text=True)
    assert done.returncode and "already registered id" in done.stderr, done.stderr


def check_remote() -> None:
    """The component by the address of a repository, as Argo CD and Flux use it, and `nameSuffix`."""
    repository = fresh("repository")
    shutil.copytree(K8S, repository / "k8s")
    git = ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in [["init", "--quiet", "--initial-branch=v1"], ["add", "."], ["commit", "--quiet", "--message=a"]]:
        subprocess.run([*git, *command], check=True)
    app = workload("Deployment", PATCHED["Deployment"])
    directory = with_sidecar("by-address", [app], [], {"nameSuffix": "-v2"})
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    kustomization["components"] = [f"file://{repository}//k8s/sidecar?ref=v1"]
    write_kustomization(directory, kustomization)
    documents = list(yaml.safe_load_all(kustomize(directory)))
    check_pods("by-address", documents)
    assert not without_sidecar(documents), documents
    names = sorted(document["metadata"]["name"] for document in documents)
    assert names == ["a-v2", "apigw-invoker-routes-v2", "apigw-invoker-v2"], names
    print("the component is found by the address of a repository")


def check_patches_agree() -> None:
    """The two patches have the same pod."""
    for directory in ["sidecar", "identity/service-account"]:
        pod, cronjob = (yaml.safe_load((K8S / directory / name).read_text()) for name in ["pod.yaml", "cronjob.yaml"])
        assert pod["spec"]["template"] == cronjob["spec"]["jobTemplate"]["spec"]["template"], directory


def check_other_kinds() -> None:
    """The check finds pods that kustomize leaves as they are, and the README names their kinds."""
    left_as_they_are = [workload(kind, version) for kind, version in OTHERS.items()]
    directory = with_sidecar("beside-others", left_as_they_are, [], {})
    found = without_sidecar(list(yaml.safe_load_all(kustomize(directory))))
    assert sorted(found) == sorted(f"{kind}/a" for kind in OTHERS), found
    readme = (K8S / "README.md").read_text()
    line = next(line for line in readme.split("\n\n") if "do not get the sidecar" in line)
    for kind, version in OTHERS.items():
        group = {"argoproj.io": "Argo", "serving.knative.dev": "Knative"}.get(version.split("/")[0], "bare")
        assert f"{group} {kind}s".lower() in line.lower(), f"{line} does not name {group} {kind}s"
    print(f"pods without the sidecar are found, and the README names their kinds: {', '.join(found)}")


def fresh(name: str) -> Path:
    directory = WORK / "made" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


main()
