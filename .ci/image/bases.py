"""Makes the stand-ins for the two bases of k8s/Dockerfile: WORK/compiler and WORK/libraries, each with a Dockerfile.

The compiler's is Debian 13 with gcc, as `rust:slim-trixie`; Rust itself is mounted by build.py. The other one has the
files of the packages that `distroless/cc-debian13` is made of, from the same Debian.
"""

import shutil
import sys
import tarfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from debian_root import make_debian  # noqa: E402

WORK = Path(sys.argv[1])
DEBIAN = WORK / "debian.tar"
PACKAGES = ["gcc", "libc6-dev", "ca-certificates"]
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
    path = "/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = ["FROM scratch", "ADD debian.tar /", f"ENV PATH={path}", "ENV CARGO_HOME=/usr/local/cargo"]
    if "--lto" not in sys.argv:
        lines.append("ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16")
        lines.append("ENV CARGO_PROFILE_RELEASE_OPT_LEVEL=1")
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")


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
