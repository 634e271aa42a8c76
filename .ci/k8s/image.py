"""Builds both images with buildah, twice, and leaves what their containers start with: `root` and `config.json` in
WORK/image/serve and WORK/image/dev.

The bases are made here, so that no registry is needed: of the build's, a shell and a `cargo` that brings the binary that
is there already; of the other, the libraries of this machine. What the Dockerfile itself does is done in earnest.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
IMAGE = WORK / "image"

# Cargo's part of the Dockerfile: its inputs and its output.
CARGO = """#!/bin/sh
set -eu
case "$*" in
  'install --locked --version '*' cargo-auditable') exit ;;
  'auditable build --locked --release --bins' | 'auditable build --locked --release --bins --no-default-features') ;;
  *) exit 2 ;;
esac
for name in Cargo.toml Cargo.lock src/lib.rs src/main.rs benches/routing.rs; do
  test -f "$name"
done
mkdir -p target/triple/release
cp /apigw-invoker target/triple/release/apigw-invoker
"""


def main() -> None:
    shutil.rmtree(IMAGE, ignore_errors=True)
    base("build", for_building)
    base("run", for_running)
    bases = [f"--build-arg={name.upper()}_BASE=localhost/{name}" for name in ["build", "run"]]
    for target in ["serve", "dev"]:
        digests = set()
        for attempt in ["first", "second"]:
            options = ["--no-cache", "--timestamp=0", *bases, f"--target={target}", f"--tag={attempt}"]
            build(*options, "--file", ROOT / "k8s/Dockerfile", ROOT)
            digests.add(inspect(attempt)["FromImageDigest"])
        assert len(digests) == 1, f"the same sources make different images: {digests}"
        lay_out(IMAGE / target)
        print(f"the image `{target}` was built on stand-ins for its bases, twice the same: {digests.pop()}")


def lay_out(directory: Path) -> None:
    """Writes the file system and the configuration of the image `first`."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(inspect("first")["OCIv1"]["config"]))
    (directory / "Dockerfile").write_text("FROM localhost/first\n")
    build("--output", f"type=local,dest={directory}/root", "--file", directory / "Dockerfile", directory)
    # readable only by its owner, who is not the container's root
    (directory / "root").chmod(0o755)


def base(name: str, fill: object) -> None:
    directory = IMAGE / name
    (directory / "tmp").mkdir(parents=True)
    fill(directory)
    path = "PATH=/usr/local/bin:/usr/bin:/bin"
    (IMAGE / f"{name}.Dockerfile").write_text(f"FROM scratch\nCOPY . /\nENV {path}\n")
    build("--tag", name, "--file", IMAGE / f"{name}.Dockerfile", directory)


def for_building(root: Path) -> None:
    busybox = Path(shutil.which("busybox"))
    put(busybox, root, "bin/busybox")
    for name in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    put(INVOKER, root, "apigw-invoker")
    (root / "bin/cargo").write_text(CARGO)
    (root / "bin/cargo").chmod(0o755)


def for_running(root: Path) -> None:
    libraries = subprocess.run(["ldd", INVOKER], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", libraries):
        put(Path(library), root, library)


def put(source: Path, root: Path, path: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def build(*arguments: object) -> None:
    buildah("build", "--isolation=chroot", "--quiet", *arguments)


def inspect(image: str) -> dict:
    return json.loads(buildah("inspect", "--type=image", image))


def buildah(*arguments: object) -> str:
    # a separate storage with plain directories
    storage = ["--storage-driver=vfs", "--root", IMAGE / "storage", "--runroot", IMAGE / "running"]
    done = subprocess.run(["buildah", *storage, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


main()
