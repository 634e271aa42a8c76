"""Runs the `aws` commands of packages/README.md with AWS's own command line against moto, an imitation of AWS."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from fnmatch import fnmatchcase
from pathlib import Path

import botocore.session

from page import commands

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv[1])
PROGRAMS = Path(sys.executable).parent
ENDPOINT = "http://127.0.0.1:5005"
API_KEY = "an-api-key-of-at-least-20-characters"
# `docker` only has to be called with the files that exist
DOCKER = """docker() {
  case "$1" in
    login) test -n "$(cat)" ;;
    build) test -f "$3" && test -d "$6" ;;
    push) ;;
    *) exit 2 ;;
  esac
}
"""


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
    """The block as it is on the page, with a key whose file ends with a newline; then the job as the page tells."""
    clone = WORK / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    for name in ["packages", "k8s/identity"]:
        shutil.copytree(ROOT / name, clone / name)
    (clone / "orders-api-key").write_text(f"{API_KEY}\n")
    environment = os.environ | {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": ENDPOINT, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "HOME": str(clone), "AWS_PAGER": "",
    }
    os.environ.update(environment)
    client = botocore.session.get_session().create_client
    # of the default network, in place of the examples
    network = {
        "subnet-0123456789abcdef0": client("ec2").describe_subnets()["Subnets"][0]["SubnetId"],
        "sg-0123456789abcdef0": client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"],
    }
    script = commands("Amazon ECS")
    for example, own in network.items():
        assert example in script, example
        script = script.replace(example, own)
    done = subprocess.run(
        ["sh", "-c", f"set -eu\n{DOCKER}{script}"], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    stored = client("secretsmanager").get_secret_value(SecretId="orders-api-key")
    assert stored["SecretString"] == API_KEY, "the secret has the newline of the file, which a header must not have"
    ecs = client("ecs")
    family = check_service(ecs, stored["ARN"])
    check_execution_role(client("iam"), stored["ARN"])
    job(ecs, clone, stored["ARN"], *network.values())
    print(f"{script.count('aws ')} commands of the section Amazon ECS make roles, secret, {family} and its service, at moto; "
          "so does a task of job.json")


def check_service(ecs: object, secret: str) -> str:
    """The service runs the task definition, which has the ARN of the secret that was made."""
    [service] = ecs.describe_services(cluster="orders", services=["orders"])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    assert definition["containerDefinitions"][0]["secrets"] == [{"name": "ORDERS_API_KEY", "valueFrom": secret}], definition
    assert service["launchType"] in definition["requiresCompatibilities"], service
    return f"{definition['family']}:{definition['revision']}"


def check_execution_role(iam: object, secret: str) -> None:
    """The execution role may read the secret."""
    policy = iam.get_role_policy(RoleName="orders-execution", PolicyName="start")["PolicyDocument"]
    allowed = [s["Resource"] for s in policy["Statement"] if s["Action"] == "secretsmanager:GetSecretValue"]
    assert any(fnmatchcase(secret.split(":secret:")[1], name.split(":secret:")[1]) for name in allowed), allowed


def job(ecs: object, clone: Path, secret: str, subnet: str, group: str) -> None:
    definition = json.loads((clone / "packages/ecs/job.json").read_text())
    definition["containerDefinitions"][0]["secrets"][0]["valueFrom"] = secret
    # moto adds up the memory of containers, which Fargate does not require
    definition["containerDefinitions"][1]["memory"] = 512
    ecs.register_task_definition(**definition)
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}
    ran = ecs.run_task(cluster="orders", taskDefinition="orders-job", launchType="FARGATE", networkConfiguration=network)
    assert len(ran["tasks"]) == 1 and not ran["failures"], ran


main()
