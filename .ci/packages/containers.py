"""Runs the task definitions of packages/ecs as Fargate's agent would, and packages/compose by podman-compose.

`run` starts it in a network namespace, in which `dev`'s stand-in for AWS has the address of the agent of ECS. The
images are made around the binary. What ECS itself does (roles, Secrets Manager, logs) is not here.
"""

import http.client
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / ".ci/image"))

from engine import Engine  # noqa: E402
from project import API_KEY, FUNCTION_URI, PACKAGES, cloned, compose_project, fresh  # noqa: E402

WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
# the agent of ECS, and what it answers with the keys of the task's role
AGENT = "169.254.170.2"
RELATIVE_URI = "/v2/credentials/" + re.search(
    r'ECS_ID: &str = "(.+?)"', (ROOT / "src/stand_in/container.rs").read_text()
).group(1)
IMAGE = re.search(r"^ARG IMAGE=(.+)$", (PACKAGES / "ecs/Dockerfile").read_text(), re.MULTILINE).group(1)
# the beginning of an id of temporary keys, as of a role
TEMPORARY = "ASIA"
# the stand-in in place of API Gateway: its stage that requires a signature and an API key
TO_STAND_IN = f"{FUNCTION_URI}=http://{AGENT}/both"
# calls once, and then ends or serves
APPLICATION = """wget -q -O - "$ORDERS_URL/echo/1" || exit 1
[ -z "$ONCE" ] || exit 0
trap 'exit 0' TERM; sleep 600 & wait"""


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{AGENT}/32", "dev", "lo"], check=True)
    engine = Engine(WORK / "engine")
    engine.clean()
    images(engine)
    stand_in = Path(WORK / "stand-in.log").open("wb")
    command = [INVOKER, "dev", "--listen=127.0.0.1:9082", "--admin=127.0.0.1:9182", f"--stand-in={AGENT}:80"]
    process = subprocess.Popen(command, stdout=stand_in, stderr=stand_in)
    try:
        eventually("the stand-in is there", lambda: get(AGENT, 80, "/open/hello") == 200)
        service(engine)
        job(engine)
        compose(engine)
    finally:
        engine.clean()
        process.terminate()
        process.wait()


def images(engine: Engine) -> None:
    """The image with the binary and this machine's libraries, the one of packages/ecs on it, and the application's."""
    root = fresh(WORK, "image")
    libraries = subprocess.run(["ldd", INVOKER], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", libraries):
        put(Path(library), root / "root" / library.lstrip("/"))
    put(INVOKER, root / "root/usr/local/bin/apigw-invoker")
    (root / "root/tmp").mkdir()
    # the lines of k8s/Dockerfile about the image itself
    own = (ROOT / "k8s/Dockerfile").read_text().split(" AS run\n")[1].split("\nFROM ")[0]
    (root / "Dockerfile").write_text(f"FROM scratch\n{own}\nENV PATH=/usr/local/bin:/usr/bin:/bin\nCOPY root /\n")
    engine.build("--quiet", f"--tag={IMAGE}", f"--file={root}/Dockerfile", root)
    engine.choose_runtime(IMAGE)
    options = [f"--build-arg=IMAGE=localhost/{IMAGE}", "--tag=orders-invoker:1"]
    settings = cloned("settings", WORK)
    engine.build("--quiet", *options, f"--file={PACKAGES}/ecs/Dockerfile", settings)
    root = fresh(WORK, "application")
    put(Path(shutil.which("busybox")), root / "bin/busybox")
    for name in ["sh", "wget", "sleep"]:
        (root / "bin" / name).symlink_to("busybox")
    (root / "application").write_text(APPLICATION)
    lines = ["FROM scratch", "COPY . /", "ENV PATH=/bin", 'CMD ["/bin/sh", "/application"]']
    (root / "Dockerfile").write_text("\n".join(lines) + "\n")
    engine.build("--quiet", "--tag=orders:1", f"--file={root}/Dockerfile", root)


class Task:
    """The containers of a task definition, started in the order of their dependencies, in one network namespace."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        definition = json.loads((PACKAGES / f"ecs/{name}.json").read_text())
        self.containers = {container["name"]: container for container in definition["containerDefinitions"]}

    def start(self, more: dict[str, str]) -> float:
        """Starts each container once its dependencies are healthy; returns the time that this took."""
        took = 0.0
        for name, container in self.containers.items():
            for dependency in container.get("dependsOn", []):
                assert dependency["condition"] == "HEALTHY"
                took += self.engine.becomes_healthy(dependency["containerName"])
            self.start_one(name, container, more)
        return took

    def start_one(self, name: str, container: dict, more: dict[str, str]) -> None:
        injected = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": RELATIVE_URI} | more
        environment = injected | {entry["name"]: entry["value"] for entry in container.get("environment", [])}
        # the execution role reads these from Secrets Manager
        environment |= {secret["name"]: API_KEY for secret in container.get("secrets", [])}
        options = [f"--env={name}={value}" for name, value in environment.items()]
        if name == "apigw-invoker":
            options.append(f"--env={TO_STAND_IN}")
        if "user" in container:
            options.append(f"--user={container['user']}")
        options += [f"--read-only={'true' if container.get('readonlyRootFilesystem') else 'false'}"]
        for capability in container.get("linuxParameters", {}).get("capabilities", {}).get("drop", []):
            options.append(f"--cap-drop={capability}")
        if "healthCheck" in container:
            form, *command = container["healthCheck"]["command"]
            assert form == "CMD"
            options += ["--health-cmd", json.dumps(command)]
        image = container["image"].rpartition("/")[2]
        self.engine.podman("run", "--detach", f"--name={name}", "--network=host", *self.engine.limits, *options, image)

    def stop(self) -> dict[str, int]:
        """Stops the containers in reverse order, each within its stopTimeout; the exit codes."""
        stopping = reversed(self.containers.items())
        codes = {name: self.engine.stop(name, container["stopTimeout"]) for name, container in stopping}
        self.engine.clean()
        return codes


def service(engine: Engine) -> None:
    task = Task(engine, "service")
    took = task.start({})
    calls(engine, "application", TEMPORARY)
    codes = task.stop()
    assert set(codes.values()) == {0}, codes
    print(f"ecs/service.json: healthy after {took:.1f} s, then the application's call was signed with the keys of the task's role")


def job(engine: Engine) -> None:
    task = Task(engine, "job")
    task.start({"ONCE": "1"})
    code = int(engine.podman("wait", "application"))
    assert code == 0, engine.podman("logs", "application", check=False)
    calls(engine, "application", TEMPORARY)
    assert task.stop() == {"application": 0, "apigw-invoker": 0}
    print("ecs/job.json: the application called and ended with 0, and the sidecar after it")


def compose(engine: Engine) -> None:
    """Runs the project as it is, but for the stand-in in place of API Gateway."""
    project = compose_project(WORK)
    override = {"services": {"apigw-invoker": {"network_mode": "host", "environment": [TO_STAND_IN]}, "application": {}}}
    if engine.limits:
        for service in override["services"].values():
            service["ulimits"] = {"nofile": 1024, "nproc": 1024}
    (project / "compose.override.yaml").write_text(json.dumps(override))
    engine.podman("tag", "orders:1", "registry.example.com/orders:1")
    command = [Path(sys.executable).parent / "podman-compose", f"--podman-path={shim(engine)}", "--in-pod=false"]
    run = lambda *arguments: subprocess.run(  # noqa: E731
        ["timeout", "120", *map(str, command), *arguments], cwd=project, capture_output=True, text=True
    )
    up = run("up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    calls(engine, "compose_application_1", "AKIDEXAMPLE/")
    added = f"uri: /added\napi_gateway: {{ function_uri: 'http://{AGENT}/open/hello' }}\n"
    (project.parent / "settings/routes/added.yaml").write_text(added)
    eventually("a new route is in use", lambda: get("127.0.0.1", 9080, "/added") == 200)
    down = run("down")
    assert down.returncode == 0 and "SIGKILL" not in down.stderr, down.stdout + down.stderr
    print("compose/compose.yaml: once the sidecar was healthy, the application's call was signed with the keys of the secrets; "
          "a new route came without a restart")


def shim(engine: Engine) -> Path:
    """podman with this storage and runtime.

    podman runs health checks by timers of systemd and waits for their result since 4.6; here the script runs them.
    """
    path = WORK / "podman"
    podman = " ".join(["podman", *engine.storage, "--cgroup-manager=cgroupfs", *engine.runtime])
    path.write_text(f"""#!/bin/sh
case "$1 $2" in
  '--version '*) echo 'podman version 4.6.0' ;;
  'wait --condition=healthy')
    for try in $(seq 100); do {podman} healthcheck run "$3" && exit; sleep 0.2; done
    exit 1 ;;
  *) exec {podman} "$@" ;;
esac
""")
    path.chmod(0o755)
    return path


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def get(host: str, port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def calls(engine: Engine, name: str, key: str) -> None:
    """Waits for the response in the application's log, in which the stand-in quotes the signature."""
    said = lambda: engine.podman("logs", name, check=False)  # noqa: E731
    try:
        eventually("the application has called", lambda: f"Credential={key}" in said())
    except AssertionError as error:
        sys.exit(f"{error}: {said()}{engine.podman('logs', '--tail=5', 'apigw-invoker', check=False)}")


def eventually(what: str, holds: Callable[[], bool]) -> None:
    before = time.monotonic()
    while not holds():
        assert time.monotonic() < before + 20, f"not within 20 s: {what}"
        time.sleep(0.1)


main()
