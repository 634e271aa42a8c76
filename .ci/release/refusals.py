"""Checks that what must not become a release is refused: wrong tags and versions, missing notes, changed files."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from notes import check_clean, check_unreleased, check_versions, files_with_versions, notes


def check_refusals(root: Path, work: Path, script: str, version: str) -> None:
    for tag in [f"v{version}.1", version, "v0"]:
        done = subprocess.run([script, "--notes", tag], capture_output=True, text=True)
        assert done.returncode and "tag" in done.stderr, f"{tag}: {done.stderr}"
    refused("a version without an entry", lambda: notes(root, f"{version}.1"))
    copy = work / "refused"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ["k8s", "packages"]:
        shutil.copytree(root / name, copy / name)
    for name in ["Cargo.toml", "Cargo.lock"]:
        shutil.copy(root / name, copy)
    other_versions(copy, version)
    changelog(copy, version)
    changed_file(copy)


def other_versions(copy: Path, version: str) -> None:
    """Every place that names the version has to follow it."""
    places = 0
    for path in [*files_with_versions(copy), copy / "Cargo.lock"]:
        text = path.read_text()
        # in Cargo.lock other crates may have the same version
        before = r'(?<=name = "apigw-invoker"\nversion = ")' if path.name == "Cargo.lock" else r"(?<![\d.])"
        for match in re.finditer(rf"{before}{re.escape(version)}(?![\d.])", text):
            places += 1
            path.write_text(f"{text[:match.start()]}9.9.9{text[match.end():]}")
            refused(f"9.9.9 at {match.start()} of {path}", lambda: check_versions(copy, None))
        path.write_text(text)
    check_versions(copy, None)
    print(f"the version is in {places} places, and another one in any of them is refused")


def changelog(copy: Path, version: str) -> None:
    released = f"## {version}\n- a change\n"
    (copy / "CHANGELOG.md").write_text(f"## Unreleased\n\n{released}")
    check_unreleased(copy, version)
    (copy / "CHANGELOG.md").write_text(f"## Unreleased\n- a later change\n\n{released}")
    refused("an entry under `Unreleased`", lambda: check_unreleased(copy, version))


def changed_file(copy: Path) -> None:
    """A repository of its own in the copy, so that the project's may have changes."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
    for command in [["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=x"]]:
        subprocess.run([*git, *command], cwd=copy, check=True)
    check_clean(copy)
    (copy / "Cargo.toml").write_text("# changed\n")
    refused("a changed file", lambda: check_clean(copy))


def refused(what: str, check: Callable[[], object]) -> None:
    try:
        check()
    except SystemExit:
        return
    raise AssertionError(f"a release accepts {what}")
