"""The requests that every adapter is sent through the sidecar and every framework directly."""

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
BINARY = bytes(range(256))


def multipart(*parts: str) -> tuple:
    body = "".join(f"--xyz\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--xyz--\r\n"
    return [("Content-Type", "multipart/form-data; boundary=xyz")], body.encode()


# name, method, target, headers, body
REQUESTS = [
    # methods
    ("get", "GET", "/echo/a", [], b""),
    ("head", "HEAD", "/echo/a", [], b""),
    ("head of text", "HEAD", "/unicode", [], b""),
    ("post", "POST", "/echo/a", [("Content-Type", "text/plain")], b"text"),
    ("put", "PUT", "/echo/a", [JSON], b'{"a": 1.50, "b": [null, true]}'),
    ("patch", "PATCH", "/echo/a", [JSON], b"[1, 2]"),
    ("delete", "DELETE", "/echo/a", [], b""),
    ("options", "OPTIONS", "/echo/a", [("Origin", "http://o.test"), ("Access-Control-Request-Method", "PUT")], b""),
    ("get with a body", "GET", "/echo/a", [JSON], b'{"q": 1}'),
    ("delete with a body", "DELETE", "/echo/a", [JSON], b'{"ids": [1, 2]}'),
    # paths
    ("deep path", "GET", "/echo/a/b/c/d", [], b""),
    ("slash at the end", "GET", "/echo/a/b/", [], b""),
    ("nothing behind the prefix", "GET", "/echo/", [], b""),
    ("escaped blank", "GET", "/echo/a%20b", [], b""),
    ("escaped slash", "GET", "/echo/a%2Fb", [], b""),
    ("escaped percent", "GET", "/echo/100%25", [], b""),
    ("twice escaped", "GET", "/echo/%2541", [], b""),
    ("plus in a path", "GET", "/echo/a+b%2Bc", [], b""),
    ("umlaut in a path", "GET", "/echo/gr%C3%B6%C3%9Fe", [], b""),
    ("reserved characters", "GET", "/echo/a:b@c;d,e=f&g$h!i'j(k)l*m~n", [], b""),
    ("mail address", "GET", "/echo/test%2Balias@gmail.com/plus/test+alias@gmail.com", [], b""),
    ("escaped question mark", "GET", "/echo/a%3Fb%23c", [], b""),
    # queries
    ("query", "GET", "/echo/a?name=value&other=thing", [], b""),
    ("order of a query", "GET", "/echo/a?b=2&a=1&c=3", [], b""),
    ("repeated key", "GET", "/echo/a?a=1&a=2&a=3", [], b""),
    ("repeated keys among others", "GET", "/echo/a?b=1&a=1&b=2&c=x", [], b""),
    ("flag", "GET", "/echo/a?flag", [], b""),
    ("empty value", "GET", "/echo/a?a=&b=1", [], b""),
    ("escapes in a query", "GET", "/echo/a?q=a%26b%3Dc&r=%2B%25%2F", [], b""),
    ("plus in a query", "GET", "/echo/a?q=a+b&r=a%20b", [], b""),
    ("umlaut in a query", "GET", "/echo/a?gr%C3%B6%C3%9Fe=%E2%98%83", [], b""),
    ("comma in a query", "GET", "/echo/a?list=1%2C2&list=3", [], b""),
    ("brackets in a query", "GET", "/echo/a?ids%5B%5D=1&ids%5B%5D=2&f%5Bx%5D=y", [], b""),
    ("address in a query", "GET", "/echo/a?url=https%3A%2F%2Fwww.example.com%2F%3Fa%3Db", [], b""),
    ("date in a query", "GET", "/echo/a?at=2023-06-12T18%3A05%3A10.123456%2B00%3A00", [], b""),
    ("long query", "GET", "/echo/a?" + "&".join(f"k{number}=v{number}" for number in range(150)), [], b""),
    # headers and cookies
    ("header", "GET", "/echo/a", [("X-Test-One", "1"), ("Accept", "text/html, */*;q=0.5")], b""),
    ("repeated header", "GET", "/echo/a", [("X-Test-Many", "1"), ("X-Test-Many", "2")], b""),
    ("list in a header", "GET", "/echo/a", [("X-Test-List", "a, b,c")], b""),
    ("empty header", "GET", "/echo/a", [("X-Test-Empty", "")], b""),
    ("cookies", "GET", "/echo/a", [("Cookie", "one=1; two=a%20b; three=x=y")], b""),
    ("quoted cookie", "GET", "/echo/a", [("Cookie", 'q="a b"; z=1')], b""),
    # bodies
    ("form", "POST", "/echo/a", [FORM], b"a=1&b=x+y&a=2&c=%C3%B6%26"),
    ("form with a charset", "POST", "/echo/a", [("Content-Type", FORM[1] + "; charset=UTF-8")], b"a=1"),
    ("form beside a query", "POST", "/echo/a?a=0", [FORM], b"a=1"),
    ("multipart form", "POST", "/echo/a", *multipart('name="a"\r\n\r\n1', 'name="b"\r\n\r\ngr\u00fcn')),
    ("file", "POST", "/echo/a", *multipart('name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\ncontent')),
    ("json with umlauts", "POST", "/echo/a", [JSON], '{"größe": "☃ \\u2603"}'.encode()),
    ("json with a charset", "POST", "/echo/a", [("Content-Type", "application/json; charset=utf-8")], b'{"a": "\\"b\\""}'),
    ("problem json", "POST", "/echo/a", [("Content-Type", "application/problem+json")], b'{"title": "t"}'),
    ("binary body", "POST", "/echo/a", [("Content-Type", "application/octet-stream")], BINARY),
    ("body without a type", "POST", "/echo/a", [], b"\x00\x01typeless"),
    ("text that is not utf-8", "POST", "/echo/a", [("Content-Type", "text/plain; charset=iso-8859-1")], b"gr\xfcn"),
    ("lines", "POST", "/echo/a", [("Content-Type", "text/csv")], b'a,"b"\r\n1,\t2\n\x0b'),
    ("large body", "POST", "/echo/a", [("Content-Type", "application/octet-stream")], BINARY * 1024),
    ("post without a body", "POST", "/echo/a", [], b""),
    # answers
    ("two cookies of an answer", "GET", "/cookies", [], b""),
    ("204", "GET", "/empty", [], b""),
    ("204 to a delete", "DELETE", "/empty", [], b""),
    ("redirect", "GET", "/redirect", [], b""),
    ("404", "GET", "/missing", [], b""),
    ("418", "GET", "/status/418", [], b""),
    ("500", "GET", "/status/500", [], b""),
    ("binary answer", "GET", "/binary", [], b""),
    ("unicode answer", "GET", "/unicode", [], b""),
    ("empty answer", "GET", "/nothing", [], b""),
]
