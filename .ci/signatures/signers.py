"""botocore and awscrt behind one interface: a request as it is on the wire in, its signature out."""

import datetime
import io
from dataclasses import dataclass, field

import awscrt.auth
import awscrt.http
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@dataclass
class Wire:
    """The signed parts: target, headers and body as they are sent."""

    method: str
    target: str
    host: str
    # those that are to be signed, without `host` and without what signing adds
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    service: str = "execute-api"
    access_key_id: str = "AKIDEXAMPLE"
    session_token: str | None = None
    time: datetime.datetime = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)


def by_botocore(wire: Wire) -> tuple[str, str]:
    """The canonical request and `Authorization`."""
    request = AWSRequest(method=wire.method, url=f"https://{wire.host}{wire.target}", data=wire.body)
    request.headers["Host"] = wire.host
    for name, value in wire.headers:
        request.headers[name] = value
    keys = Credentials(wire.access_key_id, SECRET_ACCESS_KEY, wire.session_token)
    # its clock cannot be passed as a parameter
    botocore.auth.get_current_datetime = lambda *_, **__: wire.time
    signer = botocore.auth.SigV4Auth(keys, wire.service, REGION)
    signer.add_auth(request)
    authorization = request.headers["Authorization"]
    del request.headers["Authorization"]
    return signer.canonical_request(request), authorization


def by_awscrt(wire: Wire) -> str:
    """`Authorization`; awscrt does not expose the canonical request."""
    headers = awscrt.http.HttpHeaders([("Host", wire.host), *wire.headers])
    body = io.BytesIO(wire.body) if wire.body else None
    request = awscrt.http.HttpRequest(wire.method, wire.target, headers, body)
    keys = (wire.access_key_id, SECRET_ACCESS_KEY, wire.session_token)
    config = awscrt.auth.AwsSigningConfig(
        algorithm=awscrt.auth.AwsSigningAlgorithm.V4,
        signature_type=awscrt.auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=awscrt.auth.AwsCredentialsProvider.new_static(*keys),
        region=REGION,
        service=wire.service,
        date=wire.time,
        use_double_uri_encode=True,
        should_normalize_uri_path=True,
    )
    awscrt.auth.aws_sign_request(request, config).result(10)
    return request.headers.get("Authorization")
