"""Makes archives of Debian 13 by mmdebstrap, from where the apt of this machine has its packages."""

import os
import platform
import re
import subprocess
from pathlib import Path

SUITE = "trixie"
# where Debian has its keys, on this machine and on Ubuntu
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# settings of apt about proxies, certificate authorities and the age of a mirror
HOW_TO_FETCH = re.compile(r"Acquire::(?:https?|Check-[A-Za-z-]+|ForceIPv[46]|Retries)\b")


def make_debian(archive: Path, packages: list[str]) -> None:
    """Makes the archive if it is missing. Needs the network, which a step in a network namespace does not have."""
    if archive.is_file():
        return
    made = archive.with_suffix(".part.tar")
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", f"--keyring={KEYRING}", "--quiet"]
    settings = apt("config", "dump", '--format=%F "%v";%n').splitlines()
    options = [f"--aptopt={line}" for line in settings if HOW_TO_FETCH.match(line)]
    subprocess.run([*command, *options, SUITE, made, *mirror()], check=True)
    made.rename(archive)


def mirror() -> list[str]:
    """The mirror of this machine if that is Debian; otherwise none, and mmdebstrap has its default."""
    machine = platform.freedesktop_os_release()
    if machine["ID"] != "debian":
        return []
    fields = "--format=$(RELEASE) $(COMPONENT) $(REPO_URI)"
    own = f"{machine.get('VERSION_CODENAME')} main "
    lines = apt("get", "indextargets", fields, "Created-By: Packages").splitlines()
    return [line.removeprefix(own) for line in lines if line.startswith(own)][:1]


def apt(command: str, *arguments: str) -> str:
    environment = os.environ | {"LC_ALL": "C"}
    command = [f"apt-{command}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
