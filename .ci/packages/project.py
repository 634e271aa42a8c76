"""A Compose project as a user has it: packages/ of a clone whose umask is 077, and the page's commands."""

import os
import shutil
import subprocess
from pathlib import Path

from page import commands

PACKAGES = Path(__file__).resolve().parents[2] / "packages"
API_KEY = "an-api-key-of-at-least-20-characters"
KEYS = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n"
# overrides the target of the route
FUNCTION_URI = "APIGW_INVOKER__ROUTES__ORDERS__API_GATEWAY__FUNCTION_URI"


def compose_project(work: Path) -> Path:
    """Lays the project out below `work` and runs the page's commands but the last, `docker compose up`."""
    directory = fresh(work, "project")
    cloned("settings", directory)
    project = cloned("compose", directory)
    home = fresh(work, "home")
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(KEYS)
    (home / "orders-api-key").write_text(API_KEY + "\n")
    *before, up = commands("Docker Compose").splitlines()
    assert up == "docker compose up", up
    script = "set -eu\n" + "\n".join(before)
    subprocess.run(["sh", "-c", script], cwd=project, env=os.environ | {"HOME": str(home)}, check=True)
    return project


def cloned(name: str, directory: Path) -> Path:
    """A directory of packages/, readable for its owner alone."""
    target = directory / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PACKAGES / name, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def fresh(work: Path, name: str) -> Path:
    directory = work / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory
