"""Runs packages/systemd under a systemd of its own: Debian 13 in namespaces, with the files installed as on the page.

The page's own commands install it. Start, a signed call with keys of LoadCredential, reload, settings from a
source, settings with mistakes, the end.
"""

import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from page import blocks, commands

sys.path.append(str(Path(__file__).resolve().parents[1]))
from bundle_server import serve_bundle  # noqa: E402
from loopback import get  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "packages"
WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
# made by `run`, because this step has no network
DEBIAN = WORK / "systemd.tar"
MACHINE = WORK / "machine"
UNIT = "apigw-invoker.service"
# of the operator, inside the machine
HOME = "/home/operator"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
API_KEY = "an-api-key-of-at-least-20-characters"
KEYS = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n"
TO_STAND_IN = "APIGW_INVOKER__ROUTES__ORDERS__API_GATEWAY__FUNCTION_URI=http://127.0.0.1:9081/both"
# systemd as PID 1 of the root $1, with the unified hierarchy of cgroups
BOOT = """
mount --make-rprivate / && mount --bind "$1" "$1" && cd "$1" || exit 1
mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t cgroup2 cgroup2 sys/fs/cgroup || exit 1
for directory in dev run tmp; do mount -t tmpfs -o mode=755 tmpfs $directory || exit 1; done
for device in null zero full random urandom tty; do touch dev/$device && mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts dev/mqueue host && ln -s pts/ptmx dev/ptmx && mount -t devpts devpts dev/pts && mount -t mqueue mqueue dev/mqueue || exit 1
pivot_root . host || exit 1
# shared, because the processes that mount credentials have mount namespaces of their own
exec env -i container=test PATH=/usr/sbin:/usr/bin sh -c 'umount -l /host; mount --make-rshared / && exec /lib/systemd/systemd'
"""


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    install()
    stand_in = (WORK / "stand-in.log").open("wb")
    command = [INVOKER, "dev", "--listen=127.0.0.1:9082", "--admin=127.0.0.1:9182", "--stand-in=127.0.0.1:9081"]
    processes = [subprocess.Popen(command, stdout=stand_in, stderr=stand_in)]
    try:
        machine = Machine()
        processes.append(machine.process)
        trial(machine)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def install() -> None:
    """Debian with systemd, an unpacked release, and the stand-in in place of API Gateway."""
    shutil.rmtree(MACHINE, ignore_errors=True)
    MACHINE.mkdir()
    subprocess.run(["tar", "--extract", "--file", DEBIAN, "--directory", MACHINE, "--exclude=./dev/*"], check=True)
    # the archive of a release, and the files in the home of the user
    download = MACHINE / f".{HOME}/download"
    for name in ["settings", "systemd"]:
        shutil.copytree(PACKAGES / name, download / "packages" / name)
    shutil.copy(INVOKER, download / "apigw-invoker")
    (MACHINE / f".{HOME}/.aws").mkdir()
    for name, text in {".aws/credentials": KEYS, "orders-api-key": API_KEY + "\n"}.items():
        (MACHINE / f".{HOME}" / name).write_text(text)
    dropin = MACHINE / f".{DROPINS}/stand-in.conf"
    dropin.parent.mkdir()
    dropin.write_text(f"[Service]\nEnvironment={TO_STAND_IN}\n")


class Machine:
    """A systemd in namespaces."""

    def __init__(self) -> None:
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        with (WORK / "systemd.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", *namespaces, "sh", "-c", BOOT, "boot", MACHINE],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        eventually("systemd is there", lambda: self.run("systemctl", "is-system-running")[1].strip() in ("running", "degraded"))

    def pid(self) -> str:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children[0] if children else "0"

    def run(self, *command: str) -> tuple[int, str]:
        """A command in the machine, as in its console."""
        namespaces = ["nsenter", f"--target={self.pid()}", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        environment = {"PATH": "/usr/sbin:/usr/bin", "SYSTEMD_PAGER": ""}
        done = subprocess.run([*namespaces, *command], env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def shows(self, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", UNIT)[1].strip()

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat")[1]


def trial(machine: Machine) -> None:
    before = time.monotonic()
    # root has no sudo here
    script = 'sudo() { "$@"; }\n' + commands("systemd")
    code, said = machine.run("sh", "-c", f"export HOME={HOME} && cd ~/download && set -eu\n{script}")
    assert code == 0, said + machine.run("systemctl", "status", "--full", UNIT)[1] + machine.journal()
    took = time.monotonic() - before
    # at the first try, because systemd has waited for READY=1
    status, body = get("/orders/echo/1")
    assert status == 200 and "AKIDEXAMPLE" in json.loads(body)["headers"]["authorization"][0], body
    assert machine.run("/usr/local/bin/apigw-invoker", "health")[0] == 0
    user = machine.run("sh", "-c", f"grep -E '^(Uid|CapBnd|NoNewPrivs|Seccomp):' /proc/{machine.shows('MainPID')}/status")[1]
    assert "Uid:\t0" not in user and "CapBnd:\t0000000000000000" in user and "Seccomp:\t2" in user, user
    key = f"/run/credentials/{UNIT}/orders-api-key"
    assert machine.run("cat", key) == (0, API_KEY + "\n"), "root reads the key"
    assert machine.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", key)[0] == 1, "others read it"
    environment = machine.shows("Environment")
    assert "AKIDEXAMPLE" not in environment and API_KEY not in environment, environment
    warnings = [line for line in machine.journal().splitlines() if '"level":"WARN"' in line or '"level":"ERROR"' in line]
    assert not warnings, warnings
    print(f"started in {took:.2f} s as a dynamic user; a call was signed with the keys of LoadCredential", flush=True)
    reload(machine)
    from_source(machine)
    ends(machine)


def reload(machine: Machine) -> None:
    added = "uri: /added\napi_gateway: { function_uri: 'http://127.0.0.1:9081/open/hello' }\n"
    write(machine, "added.yaml", added)
    assert machine.run("systemctl", "reload", UNIT)[0] == 0
    eventually("the route is in use", lambda: get("/added")[0] == 200)
    write(machine, "added.yaml", added.replace("uri", "url", 1))
    assert machine.run("systemctl", "reload", UNIT)[0] == 0
    status = "the new settings are not in use, see the log"
    eventually("the status has it", lambda: machine.shows("StatusText") == status)
    eventually("the journal has the mistake", lambda: "unknown key" in machine.journal())
    assert get("/added")[0] == 200 and machine.shows("ActiveState") == "active"
    print("`systemctl reload` brought a route; a mistake changed nothing but the status, and is in the journal", flush=True)
    synchronous(machine, added)


def synchronous(machine: Machine, route: str) -> None:
    """With `notify-reload` of systemd 253 a reload ends when the settings are in use: no wait here."""
    add_dropin(machine, "reload.conf", blocks("systemd", "ini")[0])
    write(machine, "added.yaml", route)
    restart(machine)
    for number in range(5):
        write(machine, "added.yaml", route.replace("/added", f"/added{number}"))
        code, said = machine.run("systemctl", "reload", UNIT)
        assert code == 0, said
        assert get(f"/added{number}")[0] == 200, "the reload ended before the settings were in use"
    print("with `Type=notify-reload`, `systemctl reload` ended when the settings were in use", flush=True)


def from_source(machine: Machine) -> None:
    """The settings come from a bundle of a web server; a restart without the server uses the cache."""
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w:gz") as archive:
        archive.add(PACKAGES / "settings", ".")

    address, conf = "https://config.example/", blocks("systemd", "ini")[1]
    assert address in conf, conf
    add_dropin(machine, "source.conf", conf.replace(address, "http://127.0.0.1:9083/"))
    with serve_bundle(bundle.getvalue(), 9083):
        restart(machine)
        assert get("/orders/echo/1")[0] == 200 and get("/added0")[0] == 404, "the settings are not the bundle's"
    restart(machine)
    assert get("/orders/echo/1")[0] == 200, "the cache is not used"
    assert machine.run("test", "-e", "/var/cache/apigw-invoker/current/routes/orders.yaml")[0] == 0
    assert machine.run("rm", f"{DROPINS}/source.conf")[0] == 0
    restart(machine)
    print("settings came from a bundle; a restart without the web server used the cache", flush=True)


def add_dropin(machine: Machine, name: str, text: str) -> None:
    code, said = machine.run("sh", "-c", f'printf %s "$1" > {DROPINS}/{name}', "write", text)
    assert code == 0, said


def restart(machine: Machine) -> None:
    assert machine.run("systemctl", "daemon-reload")[0] == 0
    assert machine.run("systemctl", "restart", UNIT)[0] == 0, machine.journal()


def write(machine: Machine, name: str, text: str) -> None:
    """Writes a route; the machine has a mount namespace of its own."""
    path = f"/etc/apigw-invoker/routes/{name}"
    code, said = machine.run("sh", "-c", f'printf %s "$1" > {path}', "write", text)
    assert code == 0, said


def ends(machine: Machine) -> None:
    with ThreadPoolExecutor() as pool:
        call = pool.submit(get, "/orders/slow/1500")
        time.sleep(0.5)
        assert machine.run("systemctl", "stop", UNIT)[0] == 0
        assert call.result()[0] == 200, call.result()
    assert machine.shows("Result") == "success", machine.shows("Result")
    print("`systemctl stop` waited for the call in flight", flush=True)
    write(machine, "added.yaml", "url: /added\n")
    assert machine.run("systemctl", "start", UNIT)[0] != 0
    # a service that waits for its restart is `activating`
    states = [machine.shows(name) for name in ["ExecMainStatus", "NRestarts", "ActiveState"]]
    assert states == ["78", "0", "failed"], states
    mistake = "/etc/apigw-invoker/routes/added.yaml:1: url: unknown key"
    eventually("the journal has the mistake", lambda: mistake in machine.journal())
    assert machine.run("rm", "/etc/apigw-invoker/routes/added.yaml")[0] == 0
    assert machine.run("systemctl", "start", UNIT)[0] == 0
    machine.run("systemctl", "kill", "--signal=KILL", UNIT)
    eventually("it starts again", lambda: machine.shows("NRestarts") == "1" and machine.shows("ActiveState") == "active")
    assert get("/orders/echo/1")[0] == 200
    machine.run("systemctl", "stop", UNIT)
    print("wrong settings ended it with 78 and no restart; SIGKILL restarted it", flush=True)
    port_in_use(machine)


def port_in_use(machine: Machine) -> None:
    """What can end by itself is tried until it does: systemd by default gives up after five starts in ten seconds."""
    with socket.create_server(("127.0.0.1", 9080)):
        machine.run("systemctl", "start", "--no-block", UNIT)
        eventually("it starts a seventh time", lambda: int(machine.shows("NRestarts")) > 5)
    eventually("it is active", lambda: machine.shows("ActiveState") == "active")
    machine.run("systemctl", "stop", UNIT)
    print("a port in use was retried until it was free", flush=True)
    without_file(machine)


def without_file(machine: Machine) -> None:
    """On EC2: the drop-in without the lines that the page names."""
    dropin = f"{DROPINS}/credentials.conf"
    assert machine.run("grep", "--count", "aws-credentials", dropin) == (0, "2\n")
    assert machine.run("rm", "/etc/apigw-invoker-keys/aws-credentials")[0] == 0
    assert machine.run("systemctl", "start", UNIT)[0] != 0, "a key that is missing is not noticed"
    assert machine.run("sed", "--in-place", "/aws-credentials/d", dropin)[0] == 0
    restart(machine)
    assert "AWS_SHARED_CREDENTIALS_FILE" not in machine.shows("Environment")
    machine.run("systemctl", "stop", UNIT)
    print("it starts without the file of AWS's keys, as on EC2", flush=True)


def eventually(what: str, holds: Callable[[], bool]) -> None:
    before = time.monotonic()
    while not holds():
        assert time.monotonic() < before + 30, f"not within 30 s: {what}"
        time.sleep(0.1)


main()
