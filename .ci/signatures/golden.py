"""Writes tests/it/signatures/golden.json, or compares it with what botocore and awscrt sign."""

import base64
import json
import sys
from pathlib import Path

from signers import by_awscrt, by_botocore
from table import BOTH, Sent, rows

FILE = Path(__file__).resolve().parents[2] / "tests/it/signatures/golden.json"


def row(sent: Sent) -> dict:
    wire = sent.wire()
    canonical, botocore = by_botocore(wire)
    awscrt = by_awscrt(wire)
    if (botocore == awscrt) != (sent.follows == BOTH):
        relation = "agree" if botocore == awscrt else "differ"
        sys.exit(f"{sent.name}: botocore and awscrt {relation}: {canonical!r}")
    golden = {
        "name": sent.name,
        "service": sent.service,
        "host": sent.host,
        "access_key_id": sent.access_key_id,
        "session_token": sent.session_token,
        "method": sent.method,
        "target": sent.target,
        "headers": sent.headers,
        "body": base64.b64encode(sent.body).decode(),
        "sent_target": wire.target,
        "follows": sent.follows,
    }
    if sent.follows == BOTH:
        golden["canonical_request"] = canonical
    else:
        golden["why"] = sent.why
    golden["authorization"] = awscrt if sent.follows == "awscrt" else botocore
    return golden


def main() -> None:
    golden = [row(sent) for sent in rows()]
    text = json.dumps(golden, indent=1, ensure_ascii=False) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(text)
    elif not FILE.is_file() or FILE.read_text() != text:
        sys.exit(f"{FILE} is not what botocore and awscrt sign; `.ci/signatures/run --write` writes it")
    print(f"{FILE.name}: {len(golden)} requests as botocore and awscrt sign them")


main()
