"""Makes the stand-ins for the two bases of k8s/Dockerfile: WORK/compiler and WORK/libraries, each with a Dockerfile.

The compiler's is Debian 13 with gcc, as `rust:slim-trixie`, and with llvm-profdata, which that gets by rustup; Rust
itself is mounted by build.py. The other one has the
files of the packages that `distroless/cc-debian13` is made of, from the same Debian.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "guided"))
from compiler import merger  # noqa: E402
from debian_root import make_debian  # noqa: E402

WORK = Path(sys.argv[1])
DEBIAN = WORK / "debian.tar"
PACKAGES = ["gcc", "libc6-dev", "ca-certificates", "openssl", "python3"]
# of distroless/cc, those that the program needs
LIBRARIES = ["libc6", "libgcc-s1"]
CERTIFICATES = "./etc/ssl/certs/ca-certificates.crt"


def main() -> None:
    make_debian(DEBIAN, PACKAGES)
    compiler()
    libraries()
    print("Debian 13 with gcc, and its C library without a shell")


def compiler() -> None:
    directory = fresh("compiler")
    # a hard link, because the archive is large
    (directory / "debian.tar").hardlink_to(DEBIAN)
    llvm(directory / "llvm")
    path = "/opt/llvm:/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = ["FROM scratch", "ADD debian.tar /", "COPY llvm /opt/llvm/", f"ENV PATH={path}"]
    lines.append("ENV CARGO_HOME=/usr/local/cargo")
    if "--lto" not in sys.argv:
        lines.append("ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16")
        lines.append("ENV CARGO_PROFILE_RELEASE_OPT_LEVEL=1")
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")


def llvm(directory: Path) -> None:
    """This machine's llvm-profdata with the libraries of its own, whatever Debian that is."""
    directory.mkdir()
    program = Path(shutil.which(merger())).resolve()
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"^\s+(\S+) => (/\S+)", told, re.MULTILINE)
    (loader,) = re.findall(r"^\s+(/\S+) \(", told, re.MULTILINE)
    for name, path in [("program", program), ("loader", loader), *needed]:
        shutil.copy(path, directory / name)
    call = "exec /opt/llvm/loader --library-path /opt/llvm /opt/llvm/program"
    wrapper = directory / "llvm-profdata"
    wrapper.write_text(f'#!/bin/sh\n{call} "$@"\n')
    wrapper.chmod(0o755)


def libraries() -> None:
    directory = fresh("libraries")
    with tarfile.open(DEBIAN) as debian:
        names = {name for package in LIBRARIES for name in files_of(debian, package)}
        # links of the merged /usr come with them
        links = {member.name for member in debian if member.issym() and member.name.count("/") == 1}
        wanted = [member for member in debian if member.name in names | links | {CERTIFICATES}]
        (directory / "root").mkdir()
        debian.extractall(directory / "root", wanted, filter="tar")
    (directory / "root/tmp").mkdir(mode=0o1777)
    lines = ["FROM scratch", "COPY root /", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    lines += ["ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "USER 65532", "WORKDIR /tmp"]
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    assert not (directory / "root/usr/bin/sh").exists()


def files_of(debian: tarfile.TarFile, package: str) -> list[str]:
    """The files of a package and their directories, as the archive names them."""
    lists = [f"./var/lib/dpkg/info/{package}{suffix}.list" for suffix in ["", ":amd64", ":arm64"]]
    known = set(debian.getnames())
    found = next(name for name in lists if name in known)
    return [f".{line}" for line in debian.extractfile(found).read().decode().splitlines()]


def fresh(name: str) -> Path:
    directory = WORK / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


main()
