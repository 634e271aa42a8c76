"""Builds both targets of k8s/Dockerfile on the bases of bases.py, with the compiler of this machine."""

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

from engine import Engine

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv[1])
MANIFEST = (ROOT / "Cargo.toml").read_text()
# the machine's certificate authorities, for a registry behind a proxy
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# the sources are about half of it
LARGEST_CONTEXT = 8 << 20


def main() -> None:
    engine = Engine(WORK / "engine")
    for base in ["compiler", "libraries"]:
        engine.build("--quiet", f"--tag={base}", f"--file={WORK}/{base}/Dockerfile", WORK / base)
    toolchain = subprocess.run(["rustc", "--print=sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    registry = WORK / "registry"
    registry.mkdir(exist_ok=True)
    volumes = [
        f"--volume={toolchain}:/usr/local/rust:ro",
        f"--volume={registry}:/usr/local/cargo/registry",
        f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
    ]
    bases = ["--build-arg=BUILD_BASE=localhost/compiler", "--build-arg=RUN_BASE=localhost/libraries"]
    for target in ["dev", "serve"]:
        # unused stages are skipped by docker, and made twice by old buildahs without `--layers`
        # as a release has it
        guided = ["--build-arg=GUIDED=true"] if target == "serve" else []
        options = ["--layers", *bases, *volumes, *guided, f"--target={target}", f"--tag={target}"]
        engine.build(*options, f"--file={ROOT}/k8s/Dockerfile", ROOT)
        inspect(engine, target)
    context(engine)
    wrong_architecture(engine, bases, volumes)
    # a build without a target is the one that serves
    last = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "k8s/Dockerfile").read_text(), re.MULTILINE)[-1]
    assert last == "serve", last


def inspect(engine: Engine, target: str) -> None:
    config = json.loads(engine.podman("inspect", "--type=image", target))[0]["Config"]
    version = re.search(r'^version = "(.+)"$', MANIFEST, re.MULTILINE).group(1)
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == version, f"ARG VERSION of k8s/Dockerfile is not Cargo.toml's {version}: {labels}"
    assert labels["licenses"] == re.search(r'^license = "(.+)"$', MANIFEST, re.MULTILINE).group(1), labels
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/local/bin/apigw-invoker"], config
    root = Path(engine.podman("image", "mount", target).strip())
    program = root / "usr/local/bin/apigw-invoker"
    size = program.stat().st_size >> 20
    crates = crates_of(program)
    assert "(RELR)" in tool("readelf", "--dynamic", program), "its relocations are not packed"
    files = sum(1 for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    engine.podman("image", "unmount", target)
    assert crates["apigw-invoker"] == version and "rustls" in crates, crates
    # `notify` follows the files of functions for `dev`
    assert ("notify" in crates) == (target == "dev"), f"{target}: {crates}"
    print(f"{target}: {files} files, a program of {size} MiB that lists its {len(crates)} crates", flush=True)


def context(engine: Engine) -> None:
    """Checks what .dockerignore leaves of the repository for a build."""
    file = WORK / "context.Dockerfile"
    file.write_text("FROM scratch\nCOPY . /\n")
    engine.build("--quiet", "--tag=context", f"--file={file}", ROOT)
    root = Path(engine.podman("image", "mount", "context").strip())
    names = sorted(path.name for path in root.iterdir())
    scripts = [path.name for path in (root / ".ci").iterdir()]
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    engine.podman("image", "unmount", "context")
    assert names == [".ci", "Cargo.lock", "Cargo.toml", "src"], names
    assert scripts == ["guided"], scripts
    assert size < LARGEST_CONTEXT, f"the build context has {size} bytes"
    print(f"the build context is {', '.join(names)}: {size >> 10} KiB", flush=True)


def wrong_architecture(engine: Engine, bases: list[str], volumes: list[str]) -> None:
    """Docker without BuildKit passes no architecture, and others have no linker here."""
    for name in ["", "riscv64"]:
        options = ["--quiet", "--layers", *bases, *volumes, f"--build-arg=TARGETARCH={name}", "--target=compiler"]
        said = engine.fails_to_build(*options, f"--file={ROOT}/k8s/Dockerfile", ROOT)
        assert f"no architecture {name}: build with BuildKit or buildah" in said, said
    print("another architecture, or none, is refused", flush=True)


def crates_of(program: Path) -> dict[str, str]:
    """The list that cargo-auditable writes into the section `.dep-v0`, as scanners of images read it."""
    section = WORK / "dep-v0"
    tool("objcopy", f"--dump-section=.dep-v0={section}", program, "/dev/null")
    packages = json.loads(zlib.decompress(section.read_bytes()))["packages"]
    return {package["name"]: package["version"] for package in packages if package.get("kind") != "build"}


def tool(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


main()
