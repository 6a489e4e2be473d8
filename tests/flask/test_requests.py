"""Whose scope a request runs in, from before its view until the last byte of its answer."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, g, request, stream_with_context
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wsgi import FileWrapper

from sqlalchemy_cmk import ConfigurationError, TenantRequired, tenant_scope
from sqlalchemy_cmk.flask import CMK, health
from sqlalchemy_cmk.scope import current_tenant
from tests.flask.clinics import NAMES, Clinics, db, each_name, keyring, names


def test_a_view_runs_in_the_scope_of_the_requests_tenant(clinics: Clinics) -> None:
    clinics.app.add_url_rule("/names", view_func=names)
    clinics.start()
    assert clinics.get("/names", "acme").json == NAMES["acme"]
    assert clinics.get("/names", "globex").status_code == 404
    assert current_tenant() is None


@pytest.mark.parametrize("tenant", [None, lambda: None])
def test_without_a_tenant_there_is_no_scope(make: Callable[..., Clinics], tenant: Any) -> None:
    clinics = make(tenant)
    clinics.app.add_url_rule("/names", view_func=names)
    assert clinics.start().get("/names").status_code == 500


def test_a_callers_scope_is_not_a_requests(clinics: Clinics) -> None:
    clinics.app.add_url_rule("/tenant", view_func=lambda: [current_tenant()])
    clinics.cmk.init_app(clinics.app)
    with tenant_scope("acme"):
        assert clinics.get("/tenant").json == [None]
        assert current_tenant() == "acme"


@pytest.mark.parametrize("number", [7, "globex"])
def test_a_tenant_is_named_as_a_row_names_it(make: Callable[..., Clinics], number: Any) -> None:
    clinics = make(lambda: number)
    clinics.app.add_url_rule("/tenant", view_func=lambda: [current_tenant()])
    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/tenant").json == [str(number)]


@pytest.mark.parametrize("name", ["", "x" * 191, ["acme"], object()])
def test_what_names_no_tenant_ends_the_request(make: Callable[..., Clinics], name: Any) -> None:
    clinics = make(lambda: name)
    reached: list[str | None] = []
    clinics.app.add_url_rule("/tenant", view_func=lambda: reached.append(current_tenant()) or "")
    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/tenant").status_code == 500 and reached == []


def test_a_tenant_function_may_refuse_the_request(make: Callable[..., Clinics]) -> None:
    clinics = make(lambda: abort(401))
    seen: list[str | None] = []
    clinics.app.register_error_handler(401, lambda error: seen.append(current_tenant()) or ("who?", 401))
    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/anything").status_code == 401 and seen == [None]


def test_a_coroutine_function_may_name_the_tenant(make: Callable[..., Clinics]) -> None:
    pytest.importorskip("asgiref")

    async def tenant() -> str:
        await asyncio.sleep(0)
        return "acme"

    clinics = make(tenant)
    clinics.app.add_url_rule("/tenant", view_func=lambda: [current_tenant()])
    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/tenant").json == ["acme"]


def test_an_asynchronous_view_runs_in_the_scope_and_so_do_its_tasks(clinics: Clinics) -> None:
    pytest.importorskip("asgiref")

    @clinics.app.get("/tenant")
    async def view() -> list[Any]:
        async def task() -> str | None:
            await asyncio.sleep(0)
            return current_tenant()

        return [current_tenant(), *await asyncio.gather(task(), asyncio.to_thread(current_tenant)), *names()]

    clinics.start()
    assert clinics.get("/tenant", "acme").json == ["acme", "acme", "acme", *NAMES["acme"]]
    assert current_tenant() is None


def test_everything_of_a_request_runs_in_the_scope(clinics: Clinics) -> None:
    seen: list[tuple[str, str | None]] = []

    def note(what: str) -> None:
        seen.append((what, current_tenant()))

    clinics.app.before_request(lambda: note("before, earlier"))
    clinics.app.teardown_request(lambda _: note("teardown, registered earlier"))
    clinics.app.teardown_appcontext(lambda _: note("application context"))
    clinics.cmk.init_app(clinics.app)
    clinics.app.before_request(lambda: note("before, later"))
    clinics.app.after_request(lambda response: note("after") or response)

    @clinics.app.get("/")
    def view() -> Response:
        note("view")
        response = Response("x")
        response.call_on_close(lambda: note("close"))
        return response

    seen.clear()
    clinics.get("/", "acme").close()
    assert seen == [
        ("before, earlier", None),  # nobody knew then
        *[
            (what, "acme")
            for what in (
                "before, later",
                "view",
                "after",
                "teardown, registered earlier",
                "application context",
                "close",
            )
        ],
    ]


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/broken", 500)])
def test_error_pages_are_made_in_the_scope(clinics: Clinics, path: str, status: int) -> None:
    @clinics.app.get("/broken")
    def broken() -> str:
        raise ValueError

    clinics.app.register_error_handler(status, lambda error: (names(), status))
    clinics.start()
    answer = clinics.get(path, "acme")
    assert (answer.status_code, answer.json) == (status, NAMES["acme"])
    assert current_tenant() is None


def test_a_request_that_raises_leaves_its_scope(clinics: Clinics) -> None:
    clinics.app.testing = True
    clinics.cmk.init_app(clinics.app)

    @clinics.app.get("/broken")
    def broken() -> str:
        raise ValueError(current_tenant())

    with pytest.raises(ValueError, match="acme"):
        clinics.get("/broken", "acme")
    assert current_tenant() is None


@pytest.mark.parametrize("wrap", [stream_with_context, iter], ids=["with context", "bare"])
def test_a_streamed_body_runs_in_the_scope_and_what_is_between_its_steps_does_not(
    clinics: Clinics, wrap: Callable[[Iterator[str]], Iterator[str]]
) -> None:
    seen: list[str | None] = []

    def body() -> Iterator[str]:
        try:
            for number in range(3):
                yield f"{number} {current_tenant()}\n"
        finally:
            seen.append(current_tenant())

    clinics.app.teardown_request(lambda _: seen.append(current_tenant()))
    clinics.app.add_url_rule("/stream", view_func=lambda: Response(wrap(body())))
    clinics.cmk.init_app(clinics.app)
    steps = clinics.get("/stream", "acme").iter_encoded()
    for number in range(3):
        assert next(steps) == f"{number} acme\n".encode()
        assert current_tenant() is None
    assert list(steps) == [] and len(seen) > 1 and set(seen) == {"acme"}


def test_a_stream_reads_sealed_values(clinics: Clinics) -> None:
    clinics.app.add_url_rule("/names", view_func=lambda: Response(stream_with_context(each_name())))
    clinics.start()
    assert clinics.get("/names", "acme").text.split() == NAMES["acme"]


def test_two_streams_that_take_turns_keep_their_scopes(clinics: Clinics) -> None:
    clinics.app.add_url_rule(
        "/stream", view_func=lambda: Response(f"{number} {current_tenant()}" for number in range(2))
    )
    clinics.cmk.init_app(clinics.app)
    bodies = [clinics.get("/stream", clinic).iter_encoded() for clinic in NAMES]
    assert [next(one) for _ in range(2) for one in bodies] == [b"0 acme", b"0 globex", b"1 acme", b"1 globex"]


def test_a_stream_that_nobody_reads_to_its_end_leaves_no_scope_behind(clinics: Clinics) -> None:
    seen: list[str | None] = []

    def body() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            seen.append(current_tenant())

    clinics.app.add_url_rule("/stream", "s", lambda: Response(stream_with_context(body())))
    clinics.app.add_url_rule("/tenant", "t", lambda: [current_tenant()])
    clinics.cmk.init_app(clinics.app)
    environ = EnvironBuilder("/stream", headers={"X-Clinic": "acme"}).get_environ()
    steps, _, _ = run_wsgi_app(clinics.app, environ)
    assert next(iter(steps)) == b"a" and current_tenant() is None
    steps.close()  # type: ignore[attr-defined]
    assert seen == ["acme"]
    assert clinics.get("/tenant").json == [None]


def test_a_file_stays_what_a_server_sends_by_itself(clinics: Clinics, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"content")

    @clinics.app.get("/file")
    def file() -> Response:
        wrapped = FileWrapper((tmp_path / "file").open("rb"))
        return Response(wrapped, direct_passthrough=True)

    clinics.cmk.init_app(clinics.app)
    environ = EnvironBuilder("/file").get_environ() | {"wsgi.file_wrapper": FileWrapper}
    body = clinics.app.wsgi_app(environ, lambda *_: lambda _: None)
    assert isinstance(body, FileWrapper) and b"".join(body) == b"content"
    body.close()


def test_a_scope_that_a_view_forgets_to_leave_serves_no_other_request(
    clinics: Clinics, caplog: pytest.LogCaptureFixture
) -> None:
    @clinics.app.get("/forgetful")
    def forgetful() -> str:
        tenant_scope("globex").__enter__()
        return ""

    clinics.app.add_url_rule("/tenant", view_func=lambda: [current_tenant()])
    clinics.cmk.init_app(clinics.app)
    answers: list[Any] = []

    def serve() -> None:  # a thread of the server's, whose scopes nobody else has
        for path, clinic in (("/forgetful", "acme"), ("/tenant", ""), ("/tenant", "acme")):
            answers.append(clinics.get(path, clinic).get_data(as_text=True).strip())

    thread = threading.Thread(target=serve)
    with caplog.at_level(logging.ERROR, "sqlalchemy_cmk.flask"):
        thread.start()
        thread.join()
    assert answers == ["", "[null]", '["acme"]']
    assert "was not left" in caplog.text


def test_threads_of_a_view_have_no_scope_unless_it_is_carried(clinics: Clinics) -> None:
    @clinics.app.get("/thread")
    def view() -> list[Any]:
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(current_tenant()))
        thread.start()
        thread.join()
        return seen

    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/thread", "acme").json == [None]


def test_contexts_outside_of_requests_have_no_scope(clinics: Clinics) -> None:
    clinics.start()
    with clinics.app.app_context(), pytest.raises(TenantRequired):
        names()
    with clinics.app.test_request_context(headers={"X-Clinic": "acme"}), pytest.raises(TenantRequired):
        names()
    with clinics.app.app_context(), tenant_scope("acme"):
        assert names() == NAMES["acme"]


def test_a_command_has_no_scope(clinics: Clinics) -> None:
    clinics.app.cli.command("tenant")(lambda: print(current_tenant(), g.get("user")))
    clinics.cmk.init_app(clinics.app)
    assert clinics.app.test_cli_runner().invoke(args=["tenant"]).output == "None None\n"


def test_an_application_within_another_has_its_own_scope(tmp_path: Any, clinics: Clinics) -> None:
    inner = Flask("inner")
    CMK(inner, clinics.cmk.keyring, tenant=lambda: "globex", engine=_engine(clinics))
    inner.add_url_rule("/inner", view_func=lambda: str(current_tenant()))

    @clinics.app.get("/inner")
    def outer() -> list[Any]:
        before = current_tenant()
        body, _, _ = run_wsgi_app(inner, request.environ)
        return [before, b"".join(body).decode(), current_tenant()]

    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/inner", "acme").json == ["acme", "globex", "acme"]


def _engine(clinics: Clinics) -> Any:
    with clinics.app.app_context():
        return db.engine


def test_the_health_endpoint_asks_for_no_tenant(make: Callable[..., Clinics]) -> None:
    clinics = make(lambda: abort(401))
    clinics.app.register_blueprint(health, name="elsewhere", url_prefix="/keys")
    clinics.start()
    assert clinics.get("/keys").status_code == 200
    assert clinics.get("/names").status_code == 401


def test_one_name_for_all_requests_is_no_function(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="open its rows to everybody"):
        CMK(keyring=keyring(tmp_path), tenant="acme")  # type: ignore[arg-type]
