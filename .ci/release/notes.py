"""The notes of a release, from CHANGELOG.md, and the places that have to have its version."""

import os
import re
import sys
from pathlib import Path


# what names a version, in k8s/ and packages/
IMAGE = re.compile(r"\bapigw-invoker:(\d+\.\d+\.\d+)")
CHART = re.compile(r"^ *(?:version|appVersion): \"?([^\"\n]+)", re.MULTILINE)


def check_versions(root: Path, tag: str | None) -> str:
    """The version of Cargo.toml; ends if the tag, an image, the Dockerfile or a chart has another one."""
    version = found(root / "Cargo.toml", r'^version = "(.+)"$')
    places = {
        "Cargo.lock": {found(root / "Cargo.lock", r'^name = "apigw-invoker"\nversion = "(.+)"$')},
        "ARG VERSION of k8s/Dockerfile": {found(root / "k8s/Dockerfile", r"^ARG VERSION=(.+)$")},
    }
    for path in [*(root / "k8s").rglob("*"), *(root / "packages").rglob("*")]:
        if path.is_file():
            patterns = [IMAGE, CHART] if path.name == "Chart.yaml" else [IMAGE]
            places[str(path.relative_to(root))] = {
                name for pattern in patterns for name in pattern.findall(path.read_text())
            }
    if tag is not None:
        places["tag"] = {tag.removeprefix("v") if tag.startswith("v") else f"{tag} without v"}
    wrong = {place: has for place, has in places.items() if has - {version}}
    if wrong:
        sys.exit(f".ci/release/run: Cargo.toml has version {version}, but: {wrong}")
    return version


def notes(root: Path, version: str) -> str:
    """The section of the version; ends if there is none, or nothing in it. Links lead to the repository at its tag."""
    changelog = (root / "CHANGELOG.md").read_text()
    section = re.search(rf"^## {re.escape(version)}(?: .*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if section is None or not section.group(1).strip():
        sys.exit(f".ci/release/run: CHANGELOG.md has no entries for {version}; rename `Unreleased`")
    repository = os.environ.get("GITHUB_REPOSITORY")
    text = section.group(1).strip() + "\n"
    if repository is None:
        return text
    return re.sub(r"\]\((?!https?://)([^)]+)\)", rf"](https://github.com/{repository}/blob/v{version}/\1)", text)


def found(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text(), re.MULTILINE)
    if match is None:
        sys.exit(f".ci/release/run: {path} has no line like {pattern}")
    return match.group(1)
