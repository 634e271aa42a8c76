"""Runs packages/compose by Docker and Docker Compose, with a network of Docker's, and k8s/Dockerfile by BuildKit.

Docker's engine is that of Debian 13, in namespaces and with a root of its own, so that none of this machine's is touched.
`dev`'s stand-in for AWS has the address of the project's gateway. The base with the compiler is made here: its `cargo`
brings the binary that is there. The other base, and the application, are those of the step `containers`.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from project import FUNCTION_URI, PACKAGES, compose_project, fresh

ROOT = PACKAGES.parent
WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
# made by `run`, because this step has no network
DEBIAN = WORK / "docker.tar"
MACHINE = WORK / "docker"
IMAGE = (PACKAGES / "ecs/Dockerfile").read_text().split("\nARG IMAGE=")[1].split("\n")[0]
GATEWAY, SUBNET = "10.99.0.1", "10.99.0.0/24"
# the daemon as a child of the root $1, with no firewall rules
BOOT = """
mount --make-rprivate / && mount --bind "$1" "$1" && cd "$1" && ip link set lo up || exit 1
mount --rbind /dev dev && mount -t proc proc proc && mount -t sysfs sysfs sys || exit 1
mount --rbind /sys/fs/cgroup sys/fs/cgroup && mount -t tmpfs tmpfs run && mkdir -p host && pivot_root . host || exit 1
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c 'cd / && umount -l /host && exec dockerd --bridge=none \
  --iptables=false --ip6tables=false --host=unix:///run/docker.sock --pidfile=/run/docker.pid --exec-root=/run/docker \
  --default-ulimit nofile=1024:1024'
"""
# `cargo` of the base with the compiler
CARGO = """#!/bin/sh
[ "$1" = install ] && exit
mkdir -p target/triple/release && cp /apigw-invoker target/triple/release/apigw-invoker
"""


def main() -> None:
    shutil.rmtree(MACHINE, ignore_errors=True)
    MACHINE.mkdir()
    subprocess.run(["tar", "--extract", "--file", DEBIAN, "--directory", MACHINE, "--exclude=./dev/*"], check=True)
    with (WORK / "docker.log").open("wb") as log:
        command = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "--kill-child", "sh", "-c", BOOT, "boot", MACHINE]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        docker = Docker(daemon)
        images(docker)
        compose(docker)
    finally:
        daemon.kill()
        daemon.wait()


class Docker:
    """The command line of Docker, in the root of the daemon."""

    def __init__(self, daemon: subprocess.Popen) -> None:
        self.daemon = daemon
        before = time.monotonic()
        while self.code("docker", "info"):
            assert daemon.poll() is None and time.monotonic() < before + 60, (WORK / "docker.log").read_text()
            time.sleep(0.2)
        print(self.run("docker", "--version").strip(), self.run("docker", "compose", "version").strip(), sep="; ", flush=True)

    def command(self, words: tuple[object, ...]) -> list[str]:
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        namespaces = ["nsenter", f"--target={(children or ['0'])[0]}", "--mount", "--pid", "--cgroup", "--root"]
        environment = ["env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return [*namespaces, *environment, *map(str, words)]

    def code(self, *words: object) -> int:
        return subprocess.run(self.command(words), capture_output=True, timeout=120, cwd="/").returncode

    def run(self, *words: object) -> str:
        done = subprocess.run(self.command(words), capture_output=True, text=True, timeout=120, cwd="/")
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def build(self, context: Path, *options: str) -> None:
        """Builds a directory of the host."""
        target = MACHINE / "contexts" / context.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(context, target, symlinks=True)
        self.run("docker", "build", "--quiet", "--network=none", *options, f"/contexts/{context.name}")


def images(docker: Docker) -> None:
    compiler = fresh(WORK, "compiler")
    (compiler / "cargo").write_text(CARGO)
    (compiler / "cargo").chmod(0o755)
    shutil.copy(INVOKER, compiler / "apigw-invoker")
    # a hard link, because the archive is large
    (compiler / "debian.tar").hardlink_to(WORK / "systemd.tar")
    lines = ["FROM scratch", "ADD debian.tar /", "COPY cargo /usr/bin/", "COPY apigw-invoker /"]
    (compiler / "Dockerfile").write_text("\n".join(lines) + "\n")
    docker.build(compiler, "--tag=compiler")
    libraries = fresh(WORK, "libraries")
    shutil.copytree(WORK / "image/root", libraries / "root", ignore=shutil.ignore_patterns("apigw-invoker"))
    (libraries / "Dockerfile").write_text("FROM scratch\nENV PATH=/usr/local/bin\nCOPY root /\n")
    docker.build(libraries, "--tag=libraries")
    docker.build(WORK / "application", "--tag=registry.example.com/orders:1")
    repository = fresh(WORK, "repository")
    for name in ["Cargo.toml", "Cargo.lock", ".dockerignore"]:
        shutil.copy(ROOT / name, repository)
    for name in ["src", "k8s", ".ci/guided"]:
        shutil.copytree(ROOT / name, repository / name)
    bases = ["--build-arg=BUILD_BASE=compiler", "--build-arg=RUN_BASE=libraries", "--file=/contexts/repository/k8s/Dockerfile"]
    docker.build(repository, *bases, f"--tag={IMAGE}")
    docker.build(repository, *bases, "--target=dev", f"--tag={IMAGE}-dev")
    for tag in [IMAGE, f"{IMAGE}-dev"]:
        assert docker.run("docker", "run", "--rm", "--network=none", tag, "--version").startswith("apigw-invoker "), tag
    print("k8s/Dockerfile: BuildKit builds both targets", flush=True)


def compose(docker: Docker) -> None:
    """The page's commands, but for the stand-in in place of API Gateway and an address that is known for it."""
    project = compose_project(WORK)
    override = {
        "services": {"apigw-invoker": {"environment": [f"{FUNCTION_URI}=http://{GATEWAY}:9081/both"]}},
        "networks": {"default": {"ipam": {"config": [{"subnet": SUBNET, "gateway": GATEWAY}]}}},
    }
    (project / "compose.override.yaml").write_text(json.dumps(override))
    shutil.copytree(project.parent, MACHINE / "project")
    with (WORK / "stand-in.log").open("wb") as log:
        command = [INVOKER, "dev", "--listen=127.0.0.1:9082", "--admin=127.0.0.1:9182", "--stand-in=0.0.0.0:9081"]
        stand_in = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        in_project = ["docker", "compose", "--project-directory=/project/compose"]
        docker.run(*in_project, "up", "--detach")
        call(docker, in_project)
        docker.run(*in_project, "restart", "apigw-invoker")
        call(docker, in_project)
        (MACHINE / "project/settings/routes/wrong.yaml").write_text("url: /wrong\n")
        docker.run(*in_project, "down")
        assert docker.code(*in_project, "up", "--detach") == 1, "the application starts without the sidecar"
        log = docker.run(*in_project, "logs", "apigw-invoker")
        assert "/etc/apigw-invoker/routes/wrong.yaml:1: url: unknown key" in log, log
        docker.run(*in_project, "down")
    finally:
        stand_in.terminate()
        stand_in.wait()
    print("compose/compose.yaml: Docker Compose started the application once the sidecar was healthy, and restarted it with "
          "the sidecar; calls were signed; with wrong settings it did not start", flush=True)


def call(docker: Docker, in_project: list[str]) -> None:
    """A call from the application's container, which the stand-in answers if the signature is right."""
    wget = ["exec", "-T", "application", "wget", "-q", "-O", "-", "http://127.0.0.1:9080/orders/echo/2"]
    body = docker.run(*in_project, *wget)
    assert "Credential=AKIDEXAMPLE/" in body, body


main()
