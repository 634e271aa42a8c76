"""The requests of the golden file, and what a signed route makes of each, written from settings/README.md."""

from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from signers import Wire

API = "abc123def4.execute-api.us-east-1.amazonaws.com"
LAMBDA = "lambda.us-east-1.amazonaws.com"
BOTH = "both"


@dataclass
class Sent:
    """A request of a client to a signed route."""

    name: str
    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    service: str = "execute-api"
    host: str = API
    access_key_id: str = "AKIDEXAMPLE"
    session_token: str | None = None
    # which of the two is followed, and why, where they differ
    follows: str = BOTH
    why: str = ""

    def wire(self) -> Wire:
        headers = signed(self.headers)
        keys = (self.service, self.access_key_id, self.session_token)
        return Wire(self.method, strict(self.target), self.host, headers, self.body, *keys)


# set by signing, or taken out of what it signs
REPLACED = {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
# parameters of a signature in the query, which AWS refuses beside a header
PRESIGNED = {"algorithm", "credential", "date", "expires", "security-token", "signature", "signedheaders"}


def signed(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of a client's headers that are signed."""
    types = [value for name, value in headers if name.lower() == "content-type"]
    has_one_form = all(
        all(" " <= letter <= "~" for letter in value) and value == value.strip() and "  " not in value
        for value in types
    )

    def is_signed(name: str) -> bool:
        if name == "content-type":
            return has_one_form
        return name.startswith("x-amz-") and name not in REPLACED

    return [(name, value) for name, value in headers if is_signed(name.lower())]


def strict(target: str) -> str:
    """A target whose query has strict escapes."""
    path, _, query = target.partition("?")
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name, value = (quote(unquote_to_bytes(part.replace("+", " ")), safe="-._~") for part in (name, value))
        if pair and name.lower() not in {f"x-amz-{parameter}" for parameter in PRESIGNED}:
            pairs.append(f"{name}={value}")
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def paths() -> list[Sent]:
    named = {
        "root": "/",
        "root twice": "//",
        "root and a dot": "/.",
        "root and two dots": "/..",
        "root, a dot and a slash": "/./",
        "a dot at the end": "/prod/a/b/.",
        "two dots at the end": "/prod/a/b/..",
        "two dots and a slash at the end": "/prod/a/b/../",
        "a dot and a slash at the end": "/prod/a/./",
        "two dots that lead to the root": "/prod/..",
        "two dots that lead above the root": "/prod/../../a",
        "both dots at the end": "/prod/a/b/./..",
        "both dots at the end, the other way": "/prod/a/b/../.",
        "two dots and a query": "/prod/a/b/..?x=1",
        "two dots behind an empty segment": "/prod/a//..",
        "an empty segment behind two dots": "/prod/a/b/..//",
        "empty and dot segments": "/prod/a//b/../c",
        "empty segments at both ends": "//prod//a//",
        "a slash at the end": "/prod/a/",
        "three dots are a name": "/prod/a/...",
        "a name that begins with a dot": "/prod/.a",
        "escaped dots are a name": "/prod/a/%2e%2e/%2E",
        "an escaped slash": "/prod/a%2Fb",
        "an escaped slash in small letters": "/prod/a%2fb",
        "dots between escaped backslashes": "/prod/a%5C..%5Cb",
        "dots between backslashes": "/prod/a\\..\\b",
        "dots before a semicolon": "/prod/a/..;/b",
        "UTF-8 and a blank, escaped": "/prod/caf%C3%A9%20x",
        "four bytes of UTF-8, escaped": "/prod/%F0%9F%98%80",
        "bytes that are no UTF-8, escaped": "/prod/%FF%00",
        "an escaped percent sign": "/prod/100%25/%2541",
        "an escape that is not needed": "/prod/%7E~%41",
        "reserved characters": "/prod/a+b/@x=",
        "all that may stand unescaped": "/prod/-._~!$&'()*+,;=:@/%22{}|^[]",
    }
    return [Sent(name, "GET" if "?" in target else "POST", target) for name, target in named.items()]


def queries() -> list[Sent]:
    named = {
        "in another order, and a name alone": "b=2&a=1&a&c=x%2Fy",
        "repetitions": "a=2&a=1&a=2&a=10",
        "empty": "",
        "empty pairs": "&a=1&&b=2&",
        "empty values and a name alone": "a=&b&c=",
        "an empty name": "=x&=&a=1",
        "plus and blank": "a=b+c&d=e%20f&g=h%2Bi",
        "names that sort by byte": "a=1&a-=2&A=3&a0=4&a%2F=5&%C3%A9=6&_=7&~=8",
        "names that sort otherwise when escaped": "a%5B0%5D=1&aZ=2&a%7Eb=3&a~a=4",
        "reserved characters": "a=*!()'&b=x/y?z&c=d=e&f=@:;,$",
        "escapes that are not needed": "a=%61%7e%2a&%62=1",
        "escapes in small letters": "a=%2f%c3%a9",
        "bytes that are no UTF-8": "a=%FF%00",
        "UTF-8": "caf%C3%A9=%F0%9F%98%80",
        "the client's own signature": "a=1&X-Amz-Signature=abc&x-amz-date=20200101T000000Z&b=2",
        "escaped ampersand, equals sign and percent sign": "a%26b=c%3Dd&e=100%25",
    }
    return [Sent(f"query: {name}", "GET", f"/prod?{query}") for name, query in named.items()]


def content_types() -> list[Sent]:
    named = {
        "plain": "application/json",
        "with a parameter": "text/plain; charset=utf-8",
        "a boundary in quotes": 'multipart/form-data; boundary="a b"',
        "empty": "",
        "two blanks in quotes stay unsigned": 'multipart/form-data; boundary="a  b"',
        "two blanks stay unsigned": "text/plain;  charset=utf-8",
        "a tab stays unsigned": "text/plain;\tcharset=utf-8",
        "a tab in quotes stays unsigned": 'multipart/form-data; name="a\tb"',
        "UTF-8 stays unsigned": 'text/plain; name="é"',
    }
    return [
        Sent(f"content type: {name}", "POST", "/prod/p", [("content-type", value)], b'{"a":1}')
        for name, value in named.items()
    ]


def headers() -> list[Sent]:
    named = {
        "blanks at the ends": [("x-amz-meta", "  a  ")],
        "runs of blanks": [("x-amz-meta", "a   b  c")],
        "runs of blanks in quotes": [("x-amz-meta", '"a   b"')],
        "a tab": [("x-amz-meta", "a\tb")],
        "tabs and blanks": [("x-amz-meta", "\t a \t b\t\tc \t")],
        "a tab in quotes": [("x-amz-meta", '"a\tb"')],
        "blanks alone": [("x-amz-meta", " \t ")],
        "none": [("x-amz-meta", "")],
        "UTF-8": [("x-amz-meta", "é€😀")],
        "repetitions": [("x-amz-a", "b  b"), ("X-Amz-A", ""), ("x-amz-a", "a, b"), ("x-amz-other", "1")],
        "names that sort by byte": [("x-amz-b", "1"), ("x-amz-a-b", "2"), ("x-amz-a", "3"), ("x-amz-a_b", "")],
        "two content types": [("content-type", "a/b"), ("content-type", "c/d; e=f")],
        "others stay unsigned": [("cookie", "a=1"), ("x-amzn-trace-id", "Root=1"), ("x-amzfoo", "1")],
        "those that signing sets": [
            ("authorization", "AWS4-HMAC-SHA256 theirs"),
            ("x-amz-date", "20200101T000000Z"),
            ("x-amz-security-token", "theirs"),
        ],
        "the payload is not left unsigned": [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")],
        "a payload hash of the client's": [("x-amz-content-sha256", "0" * 64)],
        "two payload hashes of the client's": [
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ],
    }
    rows = [Sent(f"header: {name}", "POST", "/prod/p", lines, b"body") for name, lines in named.items()]
    no_break = [("x-amz-meta", "a\u00a0b")]
    followed = {"follows": "awscrt", "why": "botocore splits at every blank of Unicode, AWS's page says spaces"}
    rows.append(Sent("header: U+00A0 is no blank", "POST", "/prod/p", no_break, **followed))
    return rows


def bodies_methods_and_keys() -> list[Sent]:
    invocation = "/2015-03-31/functions/{}/invocations"
    arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Afn%3Alive"
    octets = [("content-type", "application/octet-stream")]
    version = invocation.format("fn") + "?Qualifier=%24LATEST"
    request_response = [("x-amz-invocation-type", "RequestResponse")]
    temporary = {"access_key_id": "ASIAEXAMPLE", "session_token": "tok/en+1=="}
    why = "botocore puts the method into capital letters, and it goes out as the client sent it"
    return [
        Sent("body: none", "GET", "/prod/p"),
        Sent("body: every byte", "PUT", "/prod/p", octets, bytes(range(256))),
        Sent("body: line ends", "POST", "/prod/p", [], b"\r\n\r\na\n"),
        Sent("body: of a GET", "GET", "/prod/p", [], b"a"),
        Sent("method: HEAD", "HEAD", "/prod/p"),
        Sent("method: of its own", "M-SEARCH", "/prod/p"),
        Sent("method: small letters", "get", "/prod/p", follows="awscrt", why=why),
        Sent("keys: temporary", "POST", "/prod/p", **temporary),
        Sent("keys: temporary, with a body", "POST", "/prod/p?a=1", [("x-amz-meta", "1")], b"a", **temporary),
        Sent("lambda: by ARN", "POST", invocation.format(arn), request_response, b"{}", "lambda", LAMBDA),
        Sent("lambda: by version", "POST", version, [], b"{}", "lambda", LAMBDA),
        Sent("host: with a port", "GET", "/prod/p", host="127.0.0.1:8443"),
    ]


def rows() -> list[Sent]:
    all_rows = [*paths(), *queries(), *content_types(), *headers(), *bodies_methods_and_keys()]
    assert len({row.name for row in all_rows}) == len(all_rows), "a name stands twice"
    return all_rows
