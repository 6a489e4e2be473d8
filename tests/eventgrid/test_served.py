"""The receiver behind real servers: WSGI, ASGI, and Flask."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from flask import Flask

from sqlalchemy_cmk.eventgrid import asgi_app, wsgi_app
from sqlalchemy_cmk.flask import event_grid
from tests.eventgrid.conftest import ORIGIN, QUERY, Clinic
from tests.support.waiting import until

CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
VALIDATION = [
    {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": CODE}}
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def wsgi(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def asgi(app: Any) -> Iterator[int]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


@contextmanager
def flask(app: Any) -> Iterator[int]:
    served = Flask("clinic")
    served.register_blueprint(event_grid(app))
    with wsgi(served) as port:
        yield port


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "flask"])
def test_events_and_both_handshakes_over_http(clinic: Clinic, kind: str) -> None:
    made = {"wsgi": (wsgi, wsgi_app), "asgi": (asgi, asgi_app), "flask": (flask, lambda receiver: receiver)}
    serve, app = made[kind]
    with serve(app(clinic.receiver)) as port:

        def ask(
            method: str, body: object = b"", query: str = QUERY, **headers: str
        ) -> tuple[int, bytes, Any]:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, f"/cmk/eventgrid?{query}", data, headers)
            answer = connection.getresponse()
            found = answer.status, answer.read(), answer.headers
            connection.close()
            return found

        status, body, _ = ask("POST", VALIDATION)
        assert status == 200 and json.loads(body) == {"validationResponse": CODE}
        status, _, headers = ask("OPTIONS", **{"WebHook-Request-Origin": ORIGIN})
        assert status == 200 and headers["WebHook-Allowed-Origin"] == ORIGIN
        assert ask("POST", VALIDATION, "")[0] == 401 and ask("GET")[0] in (401, 405)
        assert ask("POST", b"x" * 1_200_000)[0] == 413
        new = clinic.place.vault.rotate_key("clinic-kek").version
        assert ask("POST", [clinic.event("KeyNewVersionCreated")])[0] == 200
        until(lambda: clinic.versions() == {new})
