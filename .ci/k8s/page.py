"""Follows k8s/README.md word for word: writes its files beside a clone of the repository, and runs its commands.

A command that needs a cluster, a registry or a container engine is replaced by what the same tool does without, or left
out with a reason. What its files render to becomes WORK/rendered/readme*.yaml, which the next steps validate and run.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from workloads import check_pods, without_sidecar

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "k8s/README.md"
WORK = Path(sys.argv[1])
BIN = Path(sys.executable).parent
# the clone of the page is beside the applications' directories
BASE = WORK / "page"
# variables that the page's commands read
VARIABLES = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
VARIABLES |= {f"HELM_{name}_HOME": str(WORK / "helm") for name in ["CACHE", "CONFIG", "DATA"]}

# what a command is replaced by: the beginning of its words, those of the replacement, and the file of its output
INSTEAD = [
    (["kubectl", "apply", "-k"], ["kubectl", "kustomize"], []),
    (["kubectl", "create", "secret"], ["kubectl", "create", "secret"], ["--dry-run=client", "--output=yaml"]),
    (["kubectl", "create", "configmap"], ["kubectl", "create", "configmap"], ["--dry-run=client", "--output=yaml"]),
    (["kubectl", "patch", "deployment", "NAME"], ["kubectl", "patch", "--local", "--filename=deployment.yaml"], ["--output=yaml"]),
    (["helm", "upgrade", "--install"], ["helm", "template"], ["--kube-version=1.37.0"]),
    (["helm", "dependency", "build"], ["helm", "dependency", "build"], []),
]
# commands that are not run, and why
LEFT_OUT = {
    ("docker", "build"): "no container engine; image.py builds the same Dockerfile by buildah",
    ("docker", "push"): "no registry",
    ("kubectl", "exec"): "no cluster; trial.py runs the words after `--` in a pod",
    ("kubectl", "port-forward"): "no cluster; trial.py asks the admin port",
    ("kubectl", "diff"): "no cluster to compare with",
}


class Follower:
    """The state of somebody who reads the page from its beginning."""

    def __init__(self) -> None:
        self.directory = BASE / "start"
        # the routes of the page: with keys in a Secret, and with those of a role
        self.routes: dict[str, str] = {}
        self.left_out: dict[tuple[str, str], int] = {}
        self.ran = 0

    def file(self, title: str, text: str) -> None:
        name, _, what = title.partition(", ")
        chart_of_its_own = what == "of your chart" and name == "Chart.yaml"
        if name == "kustomization.yaml" or name == "values.yaml" and not what or chart_of_its_own:
            self.enter(re.sub(r".* ", "", what) if what else name.removesuffix(".yaml"))
        (self.directory / name).parent.mkdir(exist_ok=True)
        (self.directory / name).write_text(text)
        if name == "orders.yaml":
            self.routes[what] = text

    def enter(self, name: str) -> None:
        """A directory of its own, with the Deployment that the page starts from and the last route."""
        self.directory = BASE / name.lower()
        self.directory.mkdir()
        shutil.copy(ROOT / "k8s/examples/client/deployment.yaml", self.directory)
        # "The route is the one of IRSA"
        route = self.routes.get("with the keys of a role" if name == "Identity" else "", "")
        (self.directory / "orders.yaml").write_text(route)

    def command(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        key = (words[0], words[1])
        if key in LEFT_OUT:
            self.left_out[key] = self.left_out.get(key, 0) + 1
            print(f"not run: {shlex.join(words)}: {LEFT_OUT[key]}")
            check_words(words, self.directory)
            return
        begin, replaced, more = next(entry for entry in INSTEAD if words[: len(entry[0])] == entry[0])
        # a shell puts the variables in
        rest = shlex.join(replaced) + line[line.index(begin[-1]) + len(begin[-1]) :] + "".join(f" {word}" for word in more)
        done = subprocess.run(
            ["sh", "-euc", rest], cwd=self.directory, capture_output=True, text=True,
            env=VARIABLES | {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(BASE)},
        )
        assert done.returncode == 0, f"{rest}\n{done.stderr}"
        (self.directory / f"output-{self.ran}.yaml").write_text(done.stdout)
        self.ran += 1
        print(f"run in {self.directory.name}/: {rest}")


def main() -> None:
    shutil.rmtree(BASE, ignore_errors=True)
    (BASE / "start").mkdir(parents=True)
    (BASE / "apigw-invoker").symlink_to(ROOT)
    follower = Follower()
    for language, text in blocks():
        if language == "sh":
            for line in commands(text):
                follower.command(line)
        elif title := re.match(r"# (\S+\.yaml(?:, [^\n]*)?)\n", text):
            follower.file(title[1], text[title.end() :])
        else:
            assert language == "yaml" and yaml.safe_load(text), text
    unused = LEFT_OUT.keys() - follower.left_out.keys() - {("kubectl", "diff")}
    assert not unused, f"the page does not have {unused}"
    check_inline()
    render_the_rest()
    check_outputs()
    print(f"{follower.ran} commands of the page were run, and {sum(follower.left_out.values())} were not")


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"^ *```(\S+)\n(.*?)^ *```$", PAGE.read_text(), re.M | re.S)


def commands(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def check_words(words: list[str], directory: Path) -> None:
    """The paths and names of a command that is not run."""
    if words[:2] == ["docker", "build"]:
        assert (directory / words[words.index("-f") + 1]).is_file() and (directory / words[-1] / "Cargo.toml").is_file()
        repository, _, tag = words[words.index("-t") + 1].rpartition(":")
        assert f"newName: {repository} " in PAGE.read_text() and f"apigw-invoker:{tag}" in pod_yaml()
    if words[:2] == ["docker", "push"]:
        assert f"-t {words[2]} " in PAGE.read_text(), words


def pod_yaml() -> str:
    return (ROOT / "k8s/sidecar/pod.yaml").read_text()


def check_inline() -> None:
    """Commands in the text name what exists."""
    text = re.sub(r"^ *```.*?^ *```$", "", PAGE.read_text(), flags=re.M | re.S)
    for command in re.findall(r"`((?:kubectl|helm|docker|\.ci/\S+) [^`]*)`", text):
        words = shlex.split(command)
        if words[0].startswith(".ci/"):
            assert (ROOT / words[0]).is_file(), command
        elif words[:3] == ["kubectl", "apply", "-k"]:
            assert (ROOT / words[3] / "kustomization.yaml").is_file(), command
        else:
            assert tuple(words[:2]) in LEFT_OUT or words[:3] == ["kubectl", "create", "secret"], command
        print(f"in the text: {command}")


def render_the_rest() -> None:
    """Every kustomization of the page, with the route of its section."""
    for directory in sorted(path.parent for path in BASE.glob("*/kustomization.yaml")):
        done = subprocess.run([BIN / "kubectl", "kustomize", directory], capture_output=True, text=True)
        assert done.returncode == 0, f"{directory}: {done.stderr}"
        name = "readme" if directory.name == "kustomization" else f"readme-{directory.name}"
        (WORK / f"rendered/{name}.yaml").write_text(done.stdout)
        check(name, list(yaml.safe_load_all(done.stdout)))
        print(f"{name}: {', '.join(document['kind'] for document in yaml.safe_load_all(done.stdout))}")


def check(name: str, documents: list[dict]) -> None:
    check_pods(name, documents)
    assert not (left_out := without_sidecar(documents)), f"{name}: no sidecar in {left_out}"


def check_outputs() -> None:
    """What the commands have printed."""
    outputs = [(file.parent.name, list(yaml.safe_load_all(file.read_text()))) for file in sorted(BASE.glob("*/output-*"))]
    charts = {"values": "readme-chart", "chart": "readme-library"}
    kinds: set[str] = set()
    for directory, documents in outputs:
        documents = [document for document in documents if document and "kind" in document]
        kinds |= {document["kind"] for document in documents}
        if directory in charts and documents:
            (WORK / f"rendered/{charts[directory]}.yaml").write_text(yaml.safe_dump_all(documents))
            check(charts[directory], documents)
        for document in documents:
            if document["kind"] == "Secret":
                assert sorted(document["data"]) == ["accesskey", "secretkey"], document
    assert {"Secret", "ConfigMap", "Deployment", "Service"} <= kinds, kinds


main()
