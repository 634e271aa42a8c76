"""podman and buildah with a storage of their own, so that no image or container of this machine is touched."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

# For machines on which the default runtime cannot start a container: hybrid cgroups, or root without
# CAP_SYS_RESOURCE, which must not raise the limits that podman sets.
RUNC = ["--runtime=runc"]
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]


class Engine:
    """Images and containers below one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.driver = "overlay" if self.has_overlay() else "vfs"
        self.storage = [f"--root={directory}/storage", f"--runroot={directory}/running", f"--storage-driver={self.driver}"]
        self.runtime: list[str] = []
        self.limits: list[str] = []

    def has_overlay(self) -> bool:
        """True if the storage can be of layers and not of copies."""
        probe = self.directory / "probe"
        for name in ["lower", "upper", "work", "merged"]:
            (probe / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        mounted = subprocess.run(["mount", "-t", "overlay", "-o", options, "none", probe / "merged"], capture_output=True)
        if mounted.returncode == 0:
            subprocess.run(["umount", probe / "merged"], check=True)
        shutil.rmtree(probe, ignore_errors=True)
        return mounted.returncode == 0

    def build(self, *arguments: object) -> None:
        """Builds an image; RUN is isolated by chroot and has this machine's network."""
        # a build that compiles is shown line by line, because it takes long
        done = subprocess.run(self.building(arguments), capture_output="--quiet" in arguments, text=True)
        if done.returncode:
            sys.exit(f"the image cannot be built: {done.stderr or ''}")

    def fails_to_build(self, *arguments: object) -> str:
        """The output of a build that has to fail."""
        done = subprocess.run(self.building(arguments), capture_output=True, text=True)
        if done.returncode == 0:
            sys.exit(f"the image can be built: {arguments}")
        return done.stdout + done.stderr

    def building(self, arguments: tuple[object, ...]) -> list[str]:
        return list(map(str, ["buildah", *self.storage, "build", "--isolation=chroot", *arguments]))

    def podman(self, *arguments: object, check: bool = True) -> str:
        command = ["podman", *self.storage, "--cgroup-manager=cgroupfs", *self.runtime, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if check and done.returncode:
            sys.exit(f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def code(self, *arguments: object) -> int:
        """The exit code of a command of podman."""
        command = ["podman", *self.storage, "--cgroup-manager=cgroupfs", *self.runtime, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True).returncode

    def choose_runtime(self, image: str) -> None:
        """Finds the runtime that starts containers of this image here: podman's default, or runc within limits."""
        for runtime, limits in [([], []), (RUNC, LIMITS)]:
            self.runtime, self.limits = runtime, limits
            if self.code("run", "--rm", "--network=none", *limits, image, "--version") == 0:
                print(f"podman runs containers {'by runc, within limits' if runtime else 'by its default runtime'}", flush=True)
                return
        sys.exit(self.podman("run", "--rm", "--network=none", *LIMITS, image, "--version", check=False))

    def start(self, name: str, image: str, *arguments: object, options: list[str] = []) -> None:
        """Starts a container as a hardened deployment does: read-only, no capabilities, no new privileges."""
        hardened = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        network = [] if "--network=none" in options else ["--network=host"]
        self.podman("run", "--detach", f"--name={name}", *network, *hardened, *self.limits, *options, image, *arguments)

    def becomes_healthy(self, name: str, seconds: float = 20) -> float:
        """Runs the container's health check until it succeeds, as podman does by a timer of systemd."""
        before = time.monotonic()
        while self.code("healthcheck", "run", name):
            if time.monotonic() > before + seconds:
                sys.exit(f"{name} is not healthy: {self.podman('logs', name, check=False)}")
            time.sleep(0.1)
        return time.monotonic() - before

    def stop(self, name: str, seconds: int = 40) -> int:
        """SIGTERM, and after the time SIGKILL; the exit code."""
        self.podman("stop", f"--time={seconds}", name)
        return int(self.podman("inspect", "--format={{.State.ExitCode}}", name))

    def clean(self) -> None:
        """Removes all containers of this storage. Its images stay, because they are the cache of the next run."""
        self.podman("rm", "--all", "--force", "--time=1", check=False)
