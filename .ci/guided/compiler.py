"""Profile-guided optimization: a build that counts, its training, and a build that reads the counts.

doc.rust-lang.org/rustc/profile-guided-optimization.html describes the steps.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from training import train

# builds into a directory with flags of rustc; returns the program
Build = Callable[[Path, list[str]], Path]
# each of the requests under load calls some functions
LEAST = 150_000
# functions of the crate, and the share of them that both builds must have: inlining leaves out some
SYMBOL = re.compile(rb"_(?:ZN|R)[\w.$]*apigw_invoker[\w.$]{10,}")
SHARE = 0.5


class NoTool(RuntimeError):
    """What is missing, and how to get it."""


def optimized(build: Build, work: Path, profile: Path) -> tuple[Path, Path]:
    """Builds the program with a profile; returns it, and the profile's copy in `work`."""
    # cargo compares flags, not files, and would take what another profile of the same name made
    digest = hashlib.sha256(profile.read_bytes()).hexdigest()[:16]
    named = Path(shutil.copyfile(profile, work / f"{digest}.profdata"))
    return build(work / "optimized", [f"-Cprofile-use={named}"]), named


def guided(build: Build, work: Path) -> tuple[Path, Path]:
    """Builds a program that counts, lets it work, and builds with its profile; `work` keeps both for the next time."""
    merge = merger()
    counts = work / "counts"
    counting = build(work / "counting", [f"-Cprofile-generate={counts}"])
    # of an earlier training
    shutil.rmtree(counts, ignore_errors=True)
    train(counting, work / "training")
    merged = work / "merged.profdata"
    # not --sparse, which leaves out functions that were never called: the compiler would not know that they are cold
    subprocess.run([merge, "merge", f"--output={merged}", counts], check=True)
    _check_counts(merge, merged)
    program, profile = optimized(build, work, merged)
    _check_names(counting, program)
    return program, profile


def _check_counts(merge: str, profile: Path) -> None:
    shown = subprocess.run([merge, "show", profile], check=True, capture_output=True, text=True).stdout
    most = int(re.search(r"^Maximum function count: (\d+)", shown, re.MULTILINE).group(1))
    if most < LEAST:
        raise RuntimeError(f"no function was called more than {most} times: the counts of the load are missing")


def _check_names(counting: Path, program: Path) -> None:
    """A profile goes by the names of functions, and what does not fit is left out without a word."""
    counted, named = (set(SYMBOL.findall(path.read_bytes())) for path in [counting, program])
    if len(named & counted) < len(named) * SHARE:
        raise RuntimeError(f"{len(named & counted)} of {len(named)} functions have the names of the profile")


def host() -> str:
    return _rustc(r"^host: (.+)$")


def can_count(target: str) -> bool:
    """The standard library of some targets has no profiler."""
    return any((_sysroot() / f"lib/rustlib/{target}/lib").glob("libprofiler_builtins-*.rlib"))


def merger() -> str:
    """llvm-profdata for the counts of this rustc: not older than its LLVM; taken from rustup if it is missing."""
    llvm = int(_rustc(r"^LLVM version: (\d+)"))
    found = _find_merger(llvm)
    if not found and shutil.which("rustup"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["rustup", "component", "add", "llvm-tools"], capture_output=True, timeout=120)
        found = _find_merger(llvm)
    if not found:
        raise NoTool(
            f"llvm-profdata {llvm} is missing: `rustup component add llvm-tools`, or Debian's package llvm-{llvm}"
        )
    return found


def _find_merger(llvm: int) -> str | None:
    names = [f"{_sysroot()}/lib/rustlib/{host()}/bin/llvm-profdata", f"llvm-profdata-{llvm}", "llvm-profdata"]
    for name in filter(shutil.which, names):
        told = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
        version = re.search(r"LLVM version (\d+)", told)
        if version and int(version.group(1)) >= llvm:
            return name
    return None


def cargo(
    command: list[str],
    directory: Path,
    target: str,
    flags: Sequence[str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs cargo for one target: flags then reach neither build scripts nor macros. They follow those of RUSTFLAGS."""
    joined = "\x1f".join([*filter(None, os.environ.get("RUSTFLAGS", "").split(" ")), *flags])
    mine = {"CARGO_TARGET_DIR": str(directory), "CARGO_ENCODED_RUSTFLAGS": joined}
    subprocess.run([*command, f"--target={target}"], check=True, cwd=cwd, env=os.environ | (environment or {}) | mine)


def _rustc(pattern: str) -> str:
    told = subprocess.run(["rustc", "--version", "--verbose"], check=True, capture_output=True, text=True).stdout
    return re.search(pattern, told, re.MULTILINE).group(1)


def _sysroot() -> Path:
    told = subprocess.run(["rustc", "--print=sysroot"], check=True, capture_output=True, text=True).stdout
    return Path(told.strip())
