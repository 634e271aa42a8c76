"""Validates packages/: ECS against the API's model in botocore, Compose against its specification, the unit by systemd."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import botocore.session
import yaml
from botocore.validate import ParamValidator
from compose_spec import PyCompose

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "packages"
WORK, INVOKER = Path(sys.argv[1]), Path(sys.argv[2])
PROGRAM = "/usr/local/bin/apigw-invoker"
# of `systemd-analyze security`, in tenths: 1.5 of 10
EXPOSURE = 15
# the smallest ones, as CPU units and MiB
FARGATE_SIZES = [
    *((256, memory) for memory in [512, 1024, 2048]),
    *((512, memory) for memory in range(1024, 4097, 1024)),
    *((1024, memory) for memory in range(2048, 8193, 1024)),
]


def main() -> None:
    drain = settings()
    ecs(drain)
    compose(drain)
    unit(drain)


def settings() -> int:
    """Checks the settings of the packages; returns `shutdown.delay` and `drain` together, in seconds."""
    command = [INVOKER, "check", "--settings", PACKAGES / "settings"]
    done = subprocess.run(command, env=os.environ | {"ORDERS_API_KEY": "x"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutdown = yaml.safe_load((PACKAGES / "settings/default.yaml").read_text())["shutdown"]
    return sum(int(re.fullmatch(r"(\d+)s", value).group(1)) for value in shutdown.values())


def ecs(drain: int) -> None:
    model = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    known = json.loads((PACKAGES / "ecs/service.json").read_text())
    # the validator finds what is wrong
    for broken in [known | {"familly": "x"}, known | {"cpu": 512}]:
        assert problems(model, broken), broken
    for name in ["service", "job"]:
        definition = json.loads((PACKAGES / f"ecs/{name}.json").read_text())
        assert not problems(model, definition), f"{name}.json: {problems(model, definition)}"
        sidecar, application = definition["containerDefinitions"]
        check = sidecar["healthCheck"]
        assert check["command"] == ["CMD", PROGRAM, "health"], "the image has no shell for CMD-SHELL"
        # the API's ranges, which its model does not have
        ranges = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}
        assert all(low <= check[field] <= high for field, (low, high) in ranges.items()), check
        assert drain < sidecar["stopTimeout"] <= 120, "SIGKILL cuts the drain off, or Fargate refuses the time"
        assert application["stopTimeout"] <= 120, "Fargate refuses the time"
        size = int(definition["cpu"]), int(definition["memory"])
        assert size in FARGATE_SIZES, f"Fargate has no tasks of {size}"
        drop = sidecar["linuxParameters"]["capabilities"]["drop"]
        hardened = sidecar["user"], sidecar["readonlyRootFilesystem"], drop
        assert hardened == ("65532:65532", True, ["ALL"]), hardened
        assert application["dependsOn"] == [{"containerName": sidecar["name"], "condition": "HEALTHY"}]
        assert application["essential"] and sidecar["essential"] == (name == "service"), name
        assert int(definition["memory"]) >= sidecar["memory"] and int(definition["cpu"]) >= sidecar["cpu"]
        assert not re.search("AWS_(ACCESS|SECRET|SESSION)", json.dumps(definition)), "keys come from the task's role"
        print(f"ecs/{name}.json: the model of RegisterTaskDefinition accepts it")
    secrets = {secret["valueFrom"] for secret in sidecar["secrets"]}
    statements = json.loads((PACKAGES / "ecs/execution-role.json").read_text())["Statement"]
    readable = {s["Resource"] for s in statements if s["Action"] == "secretsmanager:GetSecretValue"}
    # Secrets Manager adds six characters to a name
    unreadable = [secret for secret in secrets if not any(fnmatchcase(secret, pattern) for pattern in readable)]
    assert not unreadable, f"the execution role reads {readable}, the definition has {unreadable}"
    service = known | {"family": "orders-job"}
    service["containerDefinitions"][0]["essential"] = False
    assert service == definition, "job.json differs from service.json in more than its family and `essential`"


def problems(model: object, definition: dict) -> str:
    """What the model refuses, and names that it does not have, which botocore's validator passes for enumerations."""
    report = ParamValidator().validate(definition, model)
    unknown = [name for name in definition if name not in model.members]
    return report.generate_report() + "".join(unknown) if report.has_errors() or unknown else ""


def compose(drain: int) -> None:
    text = (PACKAGES / "compose/compose.yaml").read_text()
    PyCompose.from_yaml(text).validate()
    services = yaml.safe_load(text)["services"]
    sidecar, application = services["apigw-invoker"], services["application"]
    assert sidecar["healthcheck"]["test"] == ["CMD", PROGRAM, "health"], sidecar["healthcheck"]
    assert application["depends_on"] == {"apigw-invoker": {"condition": "service_healthy", "restart": True}}
    assert application["network_mode"] == "service:apigw-invoker", "it calls the loopback address of the sidecar"
    hardened = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    assert {key: sidecar.get(key) for key in hardened} == hardened, sidecar
    assert sidecar["restart"] == "unless-stopped", sidecar
    assert drain < int(sidecar["stop_grace_period"].removesuffix("s")), "SIGKILL cuts the drain off"
    assert "ports" not in sidecar, "a published port lets other machines use the routes"
    # the parser finds what is wrong
    for right, wrong in [("interval:", "intervall:"), ("service_healthy", "healthy"), ("secrets: [aws", "secrets: [as")]:
        assert right in text
        try:
            PyCompose.from_yaml(text.replace(right, wrong)).validate()
        except ValueError:
            continue
        sys.exit(f"the parser of Compose files accepts {wrong}")
    print("compose/compose.yaml: the Compose specification accepts it")


def unit(drain: int) -> None:
    """`systemd-analyze verify` on the unit with its drop-in, as installed, and its exposure."""
    # verify looks the programs up; this mount namespace is the script's own
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/usr/local/bin"], check=True)
    shutil.copy(INVOKER, PROGRAM)
    units = WORK / "units"
    shutil.rmtree(units, ignore_errors=True)
    dropin = units / "apigw-invoker.service.d"
    dropin.mkdir(parents=True)
    shutil.copy(PACKAGES / "systemd/apigw-invoker.service", units)
    shutil.copy(PACKAGES / "systemd/credentials.conf", dropin)
    verified = verify(units)
    assert not verified, verified
    text = (units / "apigw-invoker.service").read_text()
    (units / "apigw-invoker.service").write_text(text.replace("PrivateTmp=yes", "PrivateTemp=yes"))
    assert "PrivateTemp" in verify(units), "verify accepts unknown keys"
    stop = int(re.search(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE).group(1))
    assert drain < stop, "SIGKILL cuts the drain off"
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager"]
    done = subprocess.run([*command, PACKAGES / "systemd/apigw-invoker.service"], capture_output=True, text=True)
    overall = (done.stdout + done.stderr).strip().splitlines()[-1]
    assert done.returncode == 0, overall
    print(f"systemd/apigw-invoker.service: verified; {overall.removeprefix('→ ')}")


def verify(units: Path) -> str:
    """Lines about the unit; others are about this machine's units."""
    command = ["systemd-analyze", "verify", "--man=no", units / "apigw-invoker.service"]
    done = subprocess.run(command, env=os.environ | {"SYSTEMD_UNIT_PATH": f"{units}:"}, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "apigw-invoker" in line]
    return "\n".join(lines)


main()
