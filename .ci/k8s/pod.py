"""A pod's container as the kubelet makes it: the image's file system, volumes with their links, user, environment."""

import base64
import ctypes
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import time
from itertools import count
from pathlib import Path

from workloads import SIDECAR, containers, pods

# The kubelet's probes come from the node and not from the pod's own 127.0.0.1, on which clients' port listens alone.
POD_ADDRESS = "127.0.0.2"
POD_ADDRESS_6 = "fd00::2"

REVISIONS = count(1)

# outside of user namespaces all 2^32 ids exist
HAS_USERS = Path("/proc/self/uid_map").read_text().split()[2] == "4294967295"


class Image:
    """The image built by image.py."""

    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text())
        self.root = directory / "root"
        self.entrypoint = config["Entrypoint"]
        self.environment = dict(entry.split("=", 1) for entry in config["Env"])
        # with `runAsNonRoot` the kubelet refuses an image whose user is a name, because it may be root
        assert int(config["User"].partition(":")[0]), config["User"]


class Pod:
    """The container `apigw-invoker` of a pod template, with the ConfigMaps and Secrets that were rendered beside it."""

    def __init__(self, work: Path, image: Image, documents: list[dict], injected: dict[str, str]) -> None:
        self.image = image
        template = next(pods(documents))
        self.container = next(c for c in containers(template) if c["name"] == SIDECAR)
        self.has_ipv6 = True
        self.grace = template.get("terminationGracePeriodSeconds", 30)
        self.data = {(d["kind"], d["metadata"]["name"]): contents(d) for d in documents}
        self.root, self.volumes = work / "root", work / "volumes"
        shutil.copytree(image.root, self.root, symlinks=True)
        self.mount(template.get("volumes", []))
        self.environment = image.environment | injected
        self.environment |= {entry["name"]: entry["value"] for entry in self.container.get("env", [])}
        self.log = work / "log"
        self.process: subprocess.Popen | None = None

    def mount(self, volumes: list[dict]) -> None:
        assert self.container["securityContext"]["readOnlyRootFilesystem"]
        mounts = sorted(self.container.get("volumeMounts", []), key=lambda mount: mount["mountPath"])
        writable = set()
        for volume in volumes:
            kind, source = next((kind, source) for kind, source in volume.items() if kind != "name")
            if kind == "emptyDir":
                writable.add(volume["name"])
                (self.volumes / volume["name"]).mkdir(parents=True)
                (self.volumes / volume["name"]).chmod(0o777)
                continue
            name = source["name"] if kind == "configMap" else source["secretName"]
            found = self.data.get(("ConfigMap" if kind == "configMap" else "Secret", name))
            assert found is not None or source.get("optional"), f"{name} is not there"
            self.write(volume["name"], found or {})
        for mount in mounts:
            # in the root, or, within another mount, in that one's volume, as the kubelet does it
            outer = [o for o in mounts if mount["mountPath"].startswith(o["mountPath"] + "/")]
            base = self.volumes / outer[-1]["name"] if outer else self.root
            inner = mount["mountPath"].removeprefix(outer[-1]["mountPath"] if outer else "")
            (base / inner.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (self.root / "proc").mkdir()
        bind(self.root, self.root)
        subprocess.run(["mount", "-t", "proc", "proc", self.root / "proc"], check=True)
        for mount in mounts:
            assert mount.get("readOnly", False) == (mount["name"] not in writable) and "subPath" not in mount, mount
            target = self.root / mount["mountPath"].lstrip("/")
            bind(self.volumes / mount["name"], target, "rw" if mount["name"] in writable else "ro")

    def write(self, volume: str, files: dict[str, bytes]) -> None:
        """A new revision of a volume, in force by one rename (pkg/volume/util/atomic_writer.go of Kubernetes)."""
        at = self.volumes / volume
        at.mkdir(parents=True, exist_ok=True)
        data, old = at / "..data", None
        if data.is_symlink():
            old = at / os.readlink(data)
        revision = at / f"..2026_01_01_00_00_00.{next(REVISIONS)}"
        revision.mkdir()
        for name, text in files.items():
            (revision / name).write_bytes(text)
            (revision / name).chmod(0o644)
        (at / "..data_tmp").symlink_to(revision.name)
        (at / "..data_tmp").rename(data)
        for name in files:
            if not (at / name).is_symlink():
                (at / name).symlink_to(f"..data/{name}")
        for link in at.iterdir():
            if link.is_symlink() and not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if old:
            shutil.rmtree(old)

    def spawn(self) -> None:
        command = [*self.image.entrypoint, *self.container.get("args", [])]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self.enter,
            )

    def execute(self, *arguments: str) -> tuple[int, str]:
        """`kubectl exec`, with the program by its name."""
        command = [Path(self.image.entrypoint[0]).name, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, preexec_fn=self.enter)
        return done.returncode, done.stdout + done.stderr

    def enter(self) -> None:
        os.chroot(self.root)
        os.chdir("/")
        # an unprivileged user can map only one user id
        if HAS_USERS:
            os.setgroups([])
            os.setgid(self.container["securityContext"]["runAsGroup"])
            os.setuid(self.container["securityContext"]["runAsUser"])
        # PR_SET_NO_NEW_PRIVS, which is `allowPrivilegeEscalation: false`
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
        if not self.has_ipv6:
            refuse_ipv6()

    def start(self) -> float:
        """Starts the container and polls its start-up probe until it succeeds."""
        before = time.monotonic()
        self.spawn()
        probe = self.container["startupProbe"]
        for _ in range(probe["failureThreshold"] * 10):
            assert self.process.poll() is None, f"it ended: {self.last_words()}"
            if self.probe("startupProbe") == 200:
                return time.monotonic() - before
            # a tenth of the kubelet's timeout is enough
            time.sleep(probe["periodSeconds"] / 100)
        raise AssertionError(f"it does not start: {self.last_words()}")

    def last_words(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-20:])

    def probe(self, kind: str, address: str = POD_ADDRESS) -> int | None:
        ask = self.container[kind]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        return get(address, ports[ask["port"]], ask["path"])[0]

    def stop(self) -> float:
        """Sends SIGTERM; returns the time until the clean exit."""
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(self.grace)
        assert code == 0, f"it ended with {code}: {self.last_words()}"
        return time.monotonic() - before


class Instruction(ctypes.Structure):
    """`struct sock_filter` of linux/filter.h."""

    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]


def refuse_ipv6() -> None:
    """socket(AF_INET6) fails as with the kernel's `ipv6.disable=1`, by a seccomp filter of this process."""
    socket = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    load, jump_if_equal, end = 0x20, 0x15, 0x06
    steps = [
        (load, 0, 0, 0),  # the system call's number
        (jump_if_equal, 0, 3, socket),
        (load, 0, 0, 16),  # its first argument
        (jump_if_equal, 0, 1, 10),  # AF_INET6
        (end, 0, 0, 0x50000 | 97),  # SECCOMP_RET_ERRNO, EAFNOSUPPORT
        (end, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    program = Program(len(steps), (Instruction * len(steps))(*(Instruction(*step) for step in steps)))
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    assert ctypes.CDLL(None).prctl(22, 2, ctypes.byref(program), 0, 0) == 0


def contents(document: dict) -> dict[str, bytes]:
    decode = base64.b64decode if document["kind"] == "Secret" else str.encode
    return {name: decode(text) for name, text in document.get("data", {}).items()}


def bind(source: Path, target: Path, mode: str = "ro") -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{mode}", target], check=True)


def get(host: str, port: int, path: str, body: bytes | None = None) -> tuple[int | None, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    except ConnectionError:
        return None, b""
    finally:
        connection.close()
