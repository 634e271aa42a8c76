"""The notes of a release, from CHANGELOG.md, and what it requires of the repository: one version, no changes."""

import os
import re
import subprocess
import sys
from pathlib import Path


# what names a version, in k8s/ and packages/: images and files, tags, the chart and its dependency
VERSION = r"(\d+\.\d+\.\d+)"
NAMED = [
    re.compile(pattern, re.MULTILINE)
    for pattern in [
        rf"\bapigw-invoker[:-]{VERSION}",
        rf"\bnewTag: {VERSION}",
        rf"[`=]v{VERSION}`",
        rf"`{VERSION}@sha256",
        rf"^ARG VERSION={VERSION}$",
        rf"apigw-invoker-sidecar\n +version: {VERSION}",
        # of a template
        rf"^{VERSION}$",
    ]
]
CHART = re.compile(r"^ *(?:version|appVersion): \"?([^\"\n]+)", re.MULTILINE)


def check_versions(root: Path, tag: str | None) -> str:
    """The version of Cargo.toml; ends if the tag, an image, the Dockerfile or a chart has another one."""
    version = found(root / "Cargo.toml", r'^version = "(.+)"$')
    places = {"Cargo.lock": {found(root / "Cargo.lock", r'^name = "apigw-invoker"\nversion = "(.+)"$')}}
    for path in files_with_versions(root):
        patterns = [*NAMED, CHART] if path.name == "Chart.yaml" else NAMED
        text = path.read_text()
        places[str(path.relative_to(root))] = {name for pattern in patterns for name in pattern.findall(text)}
    if tag is not None:
        places["tag"] = {tag.removeprefix("v") if tag.startswith("v") else f"{tag} without v"}
    wrong = {place: has for place, has in places.items() if has - {version}}
    if wrong:
        sys.exit(f".ci/release/run: Cargo.toml has version {version}, but: {wrong}")
    return version


def files_with_versions(root: Path) -> list[Path]:
    return [path for name in ["k8s", "packages"] for path in sorted((root / name).rglob("*")) if path.is_file()]


def notes(root: Path, version: str) -> str:
    """The section of the version; ends if there is none, or nothing in it. Links lead to the repository at its tag."""
    text = section(root, version)
    if not text:
        sys.exit(f".ci/release/run: CHANGELOG.md has no entries for {version}; rename `Unreleased`")
    repository = os.environ.get("GITHUB_REPOSITORY")
    if repository is None:
        return text
    return re.sub(r"\]\((?!https?://)([^)]+)\)", rf"](https://github.com/{repository}/blob/v{version}/\1)", text)


def section(root: Path, heading: str) -> str:
    """The text below a heading of CHANGELOG.md; empty without one."""
    pattern = rf"^## {re.escape(heading)}(?: .*)?\n(.*?)(?=^## |\Z)"
    match = re.search(pattern, (root / "CHANGELOG.md").read_text(), re.MULTILINE | re.DOTALL)
    text = match.group(1).strip() if match else ""
    return f"{text}\n" if text else ""


def check_unreleased(root: Path, version: str) -> None:
    """Ends if changes are listed that the notes of the version would leave out."""
    if section(root, "Unreleased"):
        sys.exit(f".ci/release/run: CHANGELOG.md has entries under `Unreleased`; move them to {version}, or raise it")


def check_clean(root: Path) -> None:
    """Ends if a file differs from the commit, which a release is named after."""
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    if changed:
        sys.exit(f".ci/release/run: a release is made of a commit, but these files differ from it:\n{changed}")


def found(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text(), re.MULTILINE)
    if match is None:
        sys.exit(f".ci/release/run: {path} has no line like {pattern}")
    return match.group(1)
