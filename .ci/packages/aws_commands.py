"""Runs the `aws` commands of packages/README.md with AWS's own command line against moto, an imitation of AWS."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from page import commands

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv[1])
PROGRAMS = Path(sys.executable).parent
ENDPOINT = "http://127.0.0.1:5005"


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    log = (WORK / "moto.log").open("wb")
    moto = subprocess.Popen([PROGRAMS / "moto_server", "--port=5005"], stdout=log, stderr=log)
    try:
        wait()
        run()
    finally:
        moto.terminate()
        moto.wait()


def wait() -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{ENDPOINT}/moto-api/", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("moto does not start")


def run() -> None:
    """The block as it is on the page; `docker` only has to be called with the files that exist."""
    clone = WORK / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    for name in ["packages", "k8s/identity"]:
        shutil.copytree(ROOT / name, clone / name)
    (clone / "orders-api-key").write_text("an-api-key-of-at-least-20-characters")
    environment = os.environ | {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": ENDPOINT, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "HOME": str(clone), "AWS_PAGER": "",
    }
    script = commands("Amazon ECS")
    docker = 'docker() { case "$1" in build) test -f "$3" && test -d "$6";; push) ;; *) exit 2 ;; esac; }\n'
    done = subprocess.run(
        ["sh", "-c", f"set -eu\n{docker}{script}"], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for expected in ["task-definition/orders:1", "secret:orders-api-key-"]:
        assert expected in done.stdout, f"{expected}: {done.stdout}"
    print(f"{script.count('aws ')} commands of the section Amazon ECS register roles, secret and task definition, at moto")


main()
