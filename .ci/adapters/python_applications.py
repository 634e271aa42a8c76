"""One small application in each Python framework, and each adapter's handler in front of it.

`direct` is what a usual server serves, `HANDLERS` what a Lambda runtime would call. All of them tell what they see of a
request in the same members, so that the two can be compared.
"""

import base64
import json
import socket
import threading

import apig_wsgi
import flask
import mangum
import serverless_wsgi
import uvicorn
import waitress
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, APIGatewayRestResolver, Response
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventModel, APIGatewayProxyEventV2Model
from starlette import applications, responses, routing

BINARY = bytes(range(256))
TEXT = "größe ☃"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def grouped(pairs) -> dict:
    """The values of each name; the names in their order."""
    groups = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


def wanted(headers) -> dict:
    """Headers that the requests of `cases.py` set, several of a name joined as RFC 9110 (5.3) allows."""
    own = [(name.lower(), value) for name, value in headers if name.lower().startswith(("x-test", "content-type", "accept"))]
    return {name: [part.strip() for value in values for part in value.split(",")] for name, values in grouped(own).items()}


# Starlette by Mangum, or by Uvicorn


async def starlette_echo(request):
    body = await request.body()
    form = {}
    if request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        form = grouped([(name, value if isinstance(value, str) else value.filename) for name, value in (await request.form()).multi_items()])
    seen = {
        "method": request.method,
        "path": request.url.path,
        "query": grouped(request.query_params.multi_items()),
        "names": list(grouped(request.query_params.multi_items())),
        "headers": wanted(request.headers.items()),
        "cookies": request.cookies,
        "host": request.headers["host"],
        "body": encoded(body),
        "form": form,
    }
    return responses.JSONResponse(seen)


async def starlette_cookies(request):
    response = responses.PlainTextResponse("two cookies")
    response.set_cookie("one", "1", httponly=True)
    response.set_cookie("two", "2; x=y", expires="Wed, 21 Oct 2037 07:28:00 GMT")
    return response


async def starlette_status(request):
    return responses.PlainTextResponse("a status", status_code=request.path_params["code"])


STARLETTE = applications.Starlette(routes=[
    routing.Route("/echo/{rest:path}", starlette_echo, methods=METHODS),
    routing.Route("/cookies", starlette_cookies),
    routing.Route("/status/{code:int}", starlette_status),
    routing.Route("/empty", lambda request: responses.Response(status_code=204), methods=METHODS),
    routing.Route("/redirect", lambda request: responses.RedirectResponse("/echo/there?a=b%2Fc", status_code=302)),
    routing.Route("/binary", lambda request: responses.Response(BINARY, media_type="application/octet-stream")),
    routing.Route("/unicode", lambda request: responses.PlainTextResponse(TEXT)),
    routing.Route("/nothing", lambda request: responses.Response(b"", media_type="text/plain")),
])


# Flask by serverless-wsgi and apig-wsgi, or by Waitress

FLASK = flask.Flask("application")


@FLASK.route("/echo/", defaults={"rest": ""}, methods=METHODS)
@FLASK.route("/echo/<path:rest>", methods=METHODS)
def flask_echo(rest):
    request = flask.request
    body = request.get_data(cache=True)
    arguments = grouped(request.args.items(multi=True))
    return flask.jsonify({
        "method": request.method,
        "path": request.path,
        "query": arguments,
        "names": list(arguments),
        "headers": wanted(request.headers.items()),
        "cookies": request.cookies.to_dict(),
        "host": request.host,
        "has_port": request.environ.get("SERVER_PORT", "").isdigit(),
        "body": encoded(body),
        "form": grouped([*request.form.items(multi=True), *((name, file.filename) for name, file in request.files.items(multi=True))]),
    })


@FLASK.route("/cookies")
def flask_cookies():
    response = flask.Response("two cookies", mimetype="text/plain")
    response.set_cookie("one", "1", httponly=True)
    response.set_cookie("two", "2; x=y", expires="Wed, 21 Oct 2037 07:28:00 GMT")
    return response


@FLASK.route("/status/<int:code>")
def flask_status(code):
    return flask.Response("a status", status=code, mimetype="text/plain")


@FLASK.route("/empty", methods=METHODS)
def flask_empty():
    return "", 204


@FLASK.route("/redirect")
def flask_redirect():
    return flask.redirect("/echo/there?a=b%2Fc")


@FLASK.route("/binary")
def flask_binary():
    return flask.Response(BINARY, mimetype="application/octet-stream")


@FLASK.route("/unicode")
def flask_unicode():
    return flask.Response(TEXT, mimetype="text/plain")


@FLASK.route("/nothing")
def flask_nothing():
    return flask.Response("", mimetype="text/plain")


# Powertools, which no server serves: its resolvers and models tell of the event what Starlette tells of the request


def powertools(resolver, model, arguments):
    @resolver.route("/.+", method=METHODS)
    def echo():
        event = resolver.current_event
        model.model_validate(event.raw_event)
        seen = {
            "method": event.http_method,
            "query": arguments(event),
            "headers": wanted([(name, value) for name, value in event.headers.items()]),
            "host": event.headers["host"],
            "body": event.body if event.is_base64_encoded else encoded((event.body or "").encode()),
        }
        return Response(200, "application/json", json.dumps(seen))

    return resolver.resolve


REST = APIGatewayRestResolver()
HTTP = APIGatewayHttpResolver()
POWERTOOLS = {
    "1.0": powertools(REST, APIGatewayProxyEventModel, lambda event: event.resolved_query_string_parameters),
    "2.0": powertools(HTTP, APIGatewayProxyEventV2Model, lambda event: {name: [value] for name, value in (event.query_string_parameters or {}).items()}),
}

MANGUM = mangum.Mangum(STARLETTE, lifespan="off")
APIG_WSGI = apig_wsgi.make_lambda_handler(FLASK, binary_support=True)

HANDLERS = {
    "mangum": MANGUM,
    "serverless-wsgi": lambda event, context: serverless_wsgi.handle_request(FLASK, event, context),
    "apig-wsgi": APIG_WSGI,
    "powertools": lambda event, context: POWERTOOLS[event["version"]](event, context),
}
# who is served directly for each of them
DIRECT = {"mangum": "starlette", "serverless-wsgi": "flask", "apig-wsgi": "flask", "powertools": "starlette"}


def serve() -> dict:
    """Serves each framework by itself, and gives the ports."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(STARLETTE, log_level="error", lifespan="off"))
    threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True).start()
    wsgi = waitress.create_server(FLASK, host="127.0.0.1", port=0, threads=2)
    threading.Thread(target=wsgi.run, daemon=True).start()
    return {"starlette": listening.getsockname()[1], "flask": wsgi.effective_port}
