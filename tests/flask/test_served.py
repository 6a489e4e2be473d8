"""Two clinics on one server with many threads: nobody is given what is not theirs."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from flask import Response, abort, stream_with_context
from werkzeug.serving import make_server

from tests.flask.clinics import NAMES, Clinics, Patient, db, each_name, names
from tests.flask.test_problems import revoke


@pytest.fixture
def address(clinics: Clinics) -> Iterator[str]:
    clinics.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 60}}

    @clinics.app.get("/patients/<int:number>")
    def show(number: int) -> str:
        return db.get_or_404(Patient, number).name

    @clinics.app.get("/stream")
    def stream() -> Response:
        return Response(stream_with_context(each_name()))

    clinics.app.add_url_rule("/names", view_func=names)
    clinics.app.add_url_rule("/nothing", view_func=lambda: abort(404))
    clinics.start()
    server = make_server("127.0.0.1", 0, clinics.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address: str, path: str, clinic: str) -> tuple[int, str]:
    try:
        with urlopen(Request(f"{address}{path}", headers={"X-Clinic": clinic}), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def expected(path: str, clinic: str) -> tuple[int, str | None]:
    if path == "/stream" and clinic == "acme":
        return 200, "".join(f"{name}\n" for name in NAMES["acme"])
    if path == "/names":
        return {"acme": 200, "globex": 404, "": 500}[clinic], None
    number = int(path.rpartition("/")[2])
    return (200, "Ann") if clinic == "acme" and number == 1 else (404, None)


def test_each_request_has_its_own_scope(clinics: Clinics, address: str) -> None:
    choice = random.Random(20261128)
    asked = [("/stream", "acme"), ("/names", "acme"), ("/names", "globex"), ("/names", "")]
    asked += [("/patients/1", "acme"), ("/patients/1", "globex")]
    asked = choice.choices(asked, k=120)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: ask(address, *one), asked))
    for (path, clinic), (status, body) in zip(asked, answers, strict=True):
        wanted, text = expected(path, clinic)
        assert status == wanted and (text is None or body == text), (path, clinic)


def test_a_revoked_key_shuts_its_own_tenant_alone(
    clinics: Clinics, address: str, make: Callable[..., Any]
) -> None:
    revoke(clinics)
    assert ask(address, "/names", "acme")[0] == 403
    assert ask(address, "/patients/4", "globex") == (200, "Gus")
