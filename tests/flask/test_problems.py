"""What a request is answered where a key or a scope is missing."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, abort, got_request_exception, render_template_string

from sqlalchemy_cmk import CmkError, KeyRevoked, KeyUnavailable, TenantRequired
from sqlalchemy_cmk.errors import TenantMismatch
from sqlalchemy_cmk.flask import Problem
from tests.flask.clinics import Clinics, Patient, db, keyring, names

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
KEK = "local:acme"


def revoke(clinics: Clinics) -> None:
    clinics.provider.disable(KEK)
    with clinics.app.app_context():
        clinics.cmk.keyring.forget("acme")


def lose(clinics: Clinics) -> None:
    """Put the key file where nobody finds it."""
    file = Path(clinics.app.instance_path) / "keys.json"
    file.rename(file.with_name("elsewhere"))
    with clinics.app.app_context():
        clinics.cmk.keyring.forget()


def raising(clinics: Clinics, error: Exception) -> Clinics:
    @clinics.app.get("/names")
    def fail() -> str:
        raise error

    return clinics


@pytest.fixture
def served(clinics: Clinics) -> Clinics:
    clinics.app.add_url_rule("/names", view_func=names)
    return clinics.start()


def test_a_revoked_key_is_forbidden(served: Clinics) -> None:
    revoke(served)
    answer = served.get("/names", "acme")
    assert answer.status_code == 403 and answer.content_type == "application/problem+json"
    assert answer.json["title"] == "Forbidden" and answer.json["reason"] == "key_revoked"
    assert "taken its key away" in answer.json["detail"] and "Retry-After" not in answer.headers


def test_a_key_out_of_reach_is_a_matter_of_time(make: Callable[..., Clinics], tmp_path: Path) -> None:
    clinics = make(keyring=keyring(tmp_path, retry_after=7.2))
    clinics.app.add_url_rule("/names", view_func=names)
    lose(clinics.start())
    answer = clinics.get("/names", "acme")
    assert (answer.status_code, answer.json["reason"]) == (503, "key_unavailable")
    assert answer.headers["Retry-After"] == "8"


@pytest.mark.parametrize("break_it", [revoke, lose])
def test_no_answer_names_a_tenant_a_kek_or_a_file(
    served: Clinics, break_it: Callable[[Clinics], None]
) -> None:
    break_it(served)
    for accept in ("*/*", BROWSER):
        text = served.get("/names", "acme", accept).text
        assert not [secret for secret in ("acme", "local", "keys.json", "patients") if secret in text]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "application/problem+json"),
        ("", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("text/html;q=0.5, application/json", "application/problem+json"),
        ("image/png", "application/problem+json"),
    ],
)
def test_who_asks_for_html_gets_a_page_and_everybody_else_json(
    clinics: Clinics, accept: str, form: str
) -> None:
    raising(clinics, KeyRevoked("")).cmk.init_app(clinics.app)
    answer = clinics.get("/names", accept=accept)
    assert answer.content_type == form and answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-store"


def test_another_tenants_row_is_answered_as_one_that_is_not_there(clinics: Clinics) -> None:
    @clinics.app.get("/patients/<int:number>")
    def show(number: int) -> str:
        return db.get_or_404(Patient, number).name

    clinics.start()
    for accept in ("*/*", BROWSER, "application/json"):
        theirs, nobodys = (clinics.get(f"/patients/{number}", "globex", accept) for number in (1, 1000))
        assert theirs.status_code == 404
        assert (theirs.data, dict(theirs.headers)) == (nobodys.data, dict(nobodys.headers))
    assert clinics.get("/patients/1", "acme").text == "Ann"


@pytest.mark.parametrize("of", ["app", "blueprint"])
def test_another_tenants_row_gets_the_applications_own_page_for_404(clinics: Clinics, of: str) -> None:
    blueprint = Blueprint("patients", __name__)

    @blueprint.get("/theirs")
    def theirs() -> str:
        raise TenantMismatch("theirs")

    @blueprint.get("/nobodys")
    def nobodys() -> str:
        abort(404)

    owner: Any = clinics.app if of == "app" else blueprint
    owner.register_error_handler(404, lambda error: (f"not here: {error.description}", 404))
    clinics.app.register_blueprint(blueprint)
    clinics.cmk.init_app(clinics.app)
    found = [(one.status_code, one.text) for one in map(clinics.get, ("/theirs", "/nobodys"))]
    assert found[0] == found[1] and found[0][1].startswith("not here")


def test_a_missing_scope_is_an_error_of_the_program_and_says_nothing(
    clinics: Clinics, caplog: pytest.LogCaptureFixture
) -> None:
    clinics.app.add_url_rule("/names", view_func=names)
    clinics.start()
    seen: list[Exception] = []

    def note(sender: Any, exception: Exception, **_: Any) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(note, clinics.app):
        answer = clinics.get("/names")
    assert answer.json == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "reason": "error",
    }
    assert isinstance(seen[0], TenantRequired)
    assert "TenantRequired" in caplog.text and "Traceback" in caplog.text
    assert "patients" not in clinics.get("/names", accept=BROWSER).text


def test_a_missing_scope_is_raised_where_errors_are(clinics: Clinics) -> None:
    clinics.app.testing = True
    clinics.app.add_url_rule("/names", view_func=names)
    clinics.start()
    with pytest.raises(TenantRequired):
        clinics.get("/names")
    clinics.app.config["PROPAGATE_EXCEPTIONS"] = False
    assert clinics.get("/names").status_code == 500


def test_a_missing_scope_gets_the_applications_own_page_for_500(clinics: Clinics) -> None:
    clinics.app.register_error_handler(500, lambda error: (type(error.original_exception).__name__, 500))
    raising(clinics, TenantRequired("")).cmk.init_app(clinics.app)
    assert clinics.get("/names").text == "TenantRequired"


@pytest.mark.parametrize("kind", [KeyRevoked, CmkError])
def test_an_applications_own_handler_is_left_alone(clinics: Clinics, kind: type[CmkError]) -> None:
    clinics.app.register_error_handler(kind, lambda error: (f"own {type(error).__name__}", 418))
    raising(clinics, KeyRevoked("")).cmk.init_app(clinics.app)
    assert clinics.get("/names").text == "own KeyRevoked"


def test_a_handler_that_comes_later_takes_the_place(clinics: Clinics) -> None:
    raising(clinics, KeyUnavailable("")).cmk.init_app(clinics.app)
    clinics.app.register_error_handler(KeyUnavailable, lambda error: ("own", 418))
    assert clinics.get("/names").text == "own"


def test_a_handler_of_every_exception_does_not_take_the_place(clinics: Clinics) -> None:
    clinics.app.register_error_handler(Exception, lambda error: ("every", 418))
    raising(clinics, KeyRevoked("")).cmk.init_app(clinics.app)
    assert clinics.get("/names").status_code == 403


def test_error_pages_can_be_left_out(make: Callable[..., Clinics]) -> None:
    clinics = raising(make(config={"CMK_ERROR_PAGES": False}), KeyRevoked(""))
    clinics.cmk.init_app(clinics.app)
    assert clinics.get("/names").status_code == 500


@pytest.mark.parametrize("name", ["403.html", "problem.html"])
def test_an_application_has_its_own_pages(clinics: Clinics, tmp_path: Path, name: str) -> None:
    (tmp_path / "cmk").mkdir()
    (tmp_path / "cmk" / name).write_text("<p>{{ problem.status }}, {{ problem.reason }}: {{ '<' }}</p>")
    clinics.app.template_folder = str(tmp_path)
    raising(clinics, KeyRevoked("")).cmk.init_app(clinics.app)
    assert clinics.get("/names", accept=BROWSER).text == "<p>403, key_revoked: &lt;</p>"


def test_the_page_says_what_the_problem_is(clinics: Clinics) -> None:
    raising(clinics, KeyUnavailable("")).cmk.init_app(clinics.app)
    page = clinics.get("/names", accept=BROWSER).text
    assert "<h1>Service Unavailable</h1>" in page and "cannot be reached now" in page


def test_a_hook_changes_a_problem_or_answers_it(make: Callable[..., Clinics]) -> None:
    def hook(problem: Problem, error: CmkError) -> Any:
        if isinstance(error, KeyUnavailable):
            return render_template_string("gone for {{ s }} s", s=problem.retry_after), 599
        if str(error) == "as it is":
            return None
        return replace(problem, type="https://clinics.example/key-revoked", detail="Call us.")

    def answer(error: CmkError) -> Any:
        clinics = raising(make(on_problem=hook), error)
        clinics.cmk.init_app(clinics.app)
        return clinics.get("/names")

    changed = answer(KeyRevoked("")).json
    assert (changed["type"], changed["detail"]) == ("https://clinics.example/key-revoked", "Call us.")
    gone = answer(KeyUnavailable(""))
    assert (gone.status_code, gone.text) == (599, "gone for 15 s")
    assert answer(KeyRevoked("as it is")).json["type"] == "about:blank"


def test_what_is_answered_is_logged_on_one_line(clinics: Clinics, caplog: pytest.LogCaptureFixture) -> None:
    raising(clinics, TenantMismatch("the row is\nsomebody's")).cmk.init_app(clinics.app)
    with caplog.at_level(logging.INFO, "sqlalchemy_cmk.flask"):
        clinics.get("/names")
    assert caplog.messages == ["TenantMismatch, answered with 404: the row is\\nsomebody's"]
