"""Attacks on the clinic's pages, each of which fails."""

import re
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from examples.clinic.services import accounts, documents
from examples.clinic.web.guard import InMemory
from tests.examples.clinic.browsing import ADA, Browser, Clinic

STAFF = "reception@hillside.example"


@pytest.fixture
def staff(clinic: Clinic) -> Browser:
    return clinic.browser(STAFF)


def test_every_page_says_what_it_may_load_and_is_kept_nowhere(clinic: Clinic, staff: Browser) -> None:
    for path in ("/sign-in", "/patients", "/patients/1", "/documents/2", "/nothing"):
        headers = staff.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store", path
        assert headers["Referrer-Policy"] == "same-origin", path


def test_no_page_has_a_script_a_style_or_an_address_of_its_own(clinic: Clinic) -> None:
    for email in (STAFF, "keys@operations.example"):
        browser = clinic.browser(email)
        for rule in clinic.app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and not rule.arguments and not rule.rule.startswith("/health"):
                page = browser.get(rule.rule).text
                assert not re.search(
                    r"<style|<script(?! src=\"/static)|style=\"|\son\w+=\"|javascript:", page
                ), rule
                assert not re.search(r"(src|href|action)=\"(https?:)?//(?!127\.0\.0\.1)", page), rule


def test_another_host_is_refused(clinic: Clinic) -> None:
    browser = clinic.browser()
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:5000"):
        assert browser.get("/sign-in", headers={"Host": host}).status_code == 400, host
    assert browser.get("/sign-in", headers={"Host": "127.0.0.1:5000"}).status_code == 200


def test_a_form_that_another_site_has_made_is_refused(clinic: Clinic, staff: Browser) -> None:
    number = clinic.numbers("patients", "hillside")[0]
    for rule in clinic.app.url_map.iter_rules():
        if "POST" in (rule.methods or ()):
            path = re.sub(r"<[^>]+>", str(number), rule.rule)
            for form in ({}, {"csrf_token": "x"}, {"csrf_token": clinic.browser().token("/sign-in")}):
                assert staff.http.post(path, data=form).status_code in (400, 404), path
    assert clinic.numbers("patients", "hillside")[0] == number
    assert staff.get("/patients").status_code == 200  # nor was anybody signed out


def test_a_session_that_was_planted_before_signing_in_is_worth_nothing(clinic: Clinic) -> None:
    attacker, victim = clinic.browser(), clinic.browser()
    known_token = attacker.token("/sign-in")
    planted = attacker.http.get_cookie("clinic")
    assert planted is not None
    victim.http.set_cookie("clinic", planted.value)
    victim.post("/sign-in", {"email": STAFF, "password": "open sesame 2026"})
    after = victim.http.get_cookie("clinic")
    assert after is not None and after.value != planted.value
    assert attacker.get("/patients").status_code == 303  # to the sign-in page
    answer = victim.http.post("/patients/new", data={**ADA, "csrf_token": known_token})
    assert answer.status_code == 400


def test_a_copied_cookie_ends_when_its_owner_signs_out(clinic: Clinic, staff: Browser) -> None:
    cookie = staff.http.get_cookie("clinic")
    assert cookie is not None and cookie.http_only and cookie.same_site == "Lax"
    thief = clinic.browser()
    thief.http.set_cookie("clinic", cookie.value)
    assert thief.get("/patients").status_code == 200
    staff.post("/sign-out", {}, seen_at="/patients")
    assert thief.get("/patients").status_code == 303 and staff.get("/patients").status_code == 303


def test_a_session_ends_after_a_working_day(
    clinic: Clinic, staff: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = time.time()
    monkeypatch.setattr("examples.clinic.web.current.time.time", lambda: now + accounts.LASTS + 1)
    assert staff.get("/patients").status_code == 303


def test_a_stolen_database_signs_nobody_in(clinic: Clinic, staff: Browser) -> None:
    with staff.http.session_transaction() as session:
        secret = session["secret"]
    (stored,) = clinic.execute("SELECT secret_hash FROM sign_ins").one()
    assert secret.encode() not in stored and len(stored) == 32
    (password,) = clinic.execute("SELECT password FROM staff WHERE clinic = 'hillside' LIMIT 1").one()
    assert password.startswith("scrypt:") and "sesame" not in password


def test_guessing_passwords_ends_after_a_few_for_everybody_alike(clinic: Clinic) -> None:
    guesser = clinic.browser()
    for email in (STAFF, "nobody@nowhere.example"):
        answers = [guesser.sign_in(email, f"guess {n}") for n in range(accounts.PER_ACCOUNT + 1)]
        assert [one.status_code for one in answers] == [403] * accounts.PER_ACCOUNT + [429], email
        assert int(answers[-1].headers["Retry-After"]) > 60
    right = guesser.sign_in(STAFF)
    assert right.status_code == 429  # who guesses does not learn that this one was right
    assert guesser.sign_in("security@hillside.example").status_code == 303


def test_one_address_cannot_try_every_account(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PER_ADDRESS", 3)
    guesser = clinic.browser()
    tried = [guesser.sign_in(f"{n}@x.example", "guess").status_code for n in range(5)]
    assert tried == [403, 403, 403, 429, 429]


def test_many_guesses_at_once_are_all_counted(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def check(*_: object) -> bool:
        # While one guess is looked at, the next ones begin: they have to see it.
        seen.append(clinic.execute("SELECT count(*) FROM sign_in_failures").scalar())
        return False

    monkeypatch.setattr(accounts, "check_password_hash", check)
    for _ in range(2):
        clinic.browser().sign_in(STAFF, "guess")
    assert seen == [2, 4]  # one of the account and one of the address


def test_signing_in_leaves_no_failure(clinic: Clinic, staff: Browser) -> None:
    assert clinic.execute("SELECT count(*) FROM sign_in_failures").scalar() == 0


def test_failures_name_nobody(clinic: Clinic) -> None:
    clinic.browser().sign_in("somebody@private.example", "guess")
    stored = repr(clinic.execute("SELECT * FROM sign_in_failures").all())
    assert "somebody" not in stored and "127.0.0.1" not in stored


def test_an_unknown_address_takes_as_much_work_as_a_wrong_password(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr(accounts, "check_password_hash", lambda stored, _: bool(checked.append(stored)))
    browser = clinic.browser()
    browser.sign_in("nobody@nowhere.example", "guess")
    browser.sign_in(STAFF, "guess")
    assert [one.partition("$")[0] for one in checked] == ["scrypt:32768:8:1"] * 2


def test_another_clinics_ids_lead_nowhere(clinic: Clinic, staff: Browser) -> None:
    theirs = clinic.numbers("patients", "riverside")[0]
    document = clinic.numbers("documents", "riverside")[0]
    appointment = clinic.numbers("appointments", "riverside")[0]
    for path in (
        f"/patients/{theirs}",
        f"/patients/{theirs}/edit",
        f"/patients/{theirs}/delete",
        f"/documents/{document}",
    ):
        answers = staff.get(path), staff.get(re.sub(r"\d+", "999999", path))
        assert [one.status_code for one in answers] == [404, 404], path
        theirs_page, missing = (re.sub(r'csrf_token"[^>]+', "", one.text) for one in answers)
        assert theirs_page == missing, path
    before = clinic.execute("SELECT * FROM patients WHERE clinic = 'riverside'").all()
    for path in (
        f"/patients/{theirs}/edit",
        f"/patients/{theirs}/delete",
        f"/patients/{theirs}/appointments",
        f"/patients/{theirs}/documents",
        f"/appointments/{appointment}/cancel",
        f"/documents/{document}/delete",
    ):
        assert staff.post(path, ADA, seen_at="/patients").status_code == 404, path
    assert clinic.execute("SELECT * FROM patients WHERE clinic = 'riverside'").all() == before
    assert document in clinic.numbers("documents", "riverside")
    assert appointment in clinic.numbers("appointments", "riverside")


def test_a_search_finds_nobody_elsewhere_and_a_pattern_is_a_text(clinic: Clinic, staff: Browser) -> None:
    other = clinic.browser("reception@riverside.example")
    other.post("/patients/new", ADA)
    for kind, words in (
        ("beginning", "love"),
        ("part", "lovelace"),
        ("number", ADA["number"]),
        ("beginning", "%%"),
    ):
        answer = staff.post("/patients/search", {"kind": kind, "text": words}, seen_at="/patients")
        assert "Nobody was found" in answer.text, kind
    for kind in ("", "id", "__class__"):
        assert (
            staff.post("/patients/search", {"kind": kind, "text": "x"}, seen_at="/patients").status_code
            == 422
        )


def test_a_file_that_lies_about_its_type_is_refused(clinic: Clinic, staff: Browser) -> None:
    where = f"/patients/{clinic.numbers('patients', 'hillside')[1]}"
    lies = {
        "picture.png": b"<script>alert(1)</script>",
        "letter.txt": b"  \n<!doctype html><p>hello",
        "report.pdf": b"MZ\x90\x00\x03" + bytes(400),
        "scan.jpg": b"PK\x03\x04" + bytes(100),
        "photo.jpeg": "<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>".encode("utf-8-sig"),
    }
    for name, content in lies.items():
        page = staff.upload(f"{where}/documents", content, name)
        assert "none, whatever its name" in page, name
    assert "not empty" in staff.upload(f"{where}/documents", b"", "empty.pdf")
    assert clinic.numbers("documents", "hillside") == clinic.numbers("documents", "hillside")[:1]
    # What is a text is given out as nothing else, whatever it was called.
    staff.upload(f"{where}/documents", b"alert(1)", "page.html")
    answer = staff.get(f"/documents/{clinic.numbers('documents', 'hillside')[-1]}")
    assert answer.mimetype == "text/plain" and "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_file_that_is_too_large_is_refused_and_nothing_is_kept(clinic: Clinic, staff: Browser) -> None:
    where = f"/patients/{clinic.numbers('patients', 'hillside')[1]}"
    (before,) = clinic.execute("SELECT count(*) FROM document_parts").one()
    large = b"%PDF-" + bytes(documents.LARGEST)
    assert "10 MB at most" in staff.upload(f"{where}/documents", large, "large.pdf")
    assert "larger than the 10 MB" in staff.upload(f"{where}/documents", large * 2, "larger.pdf")
    assert clinic.execute("SELECT count(*) FROM document_parts").one() == (before,)


def test_an_upload_is_never_written_to_a_file_unsealed() -> None:
    content: Any = (__import__("io").BytesIO(bytes(2_000_000)), "large.pdf")
    request = InMemory(EnvironBuilder(method="POST", data={"file": content}).get_environ())
    assert type(request.files["file"].stream).__name__ == "BytesIO"


def test_what_somebody_types_is_shown_as_text(staff: Browser) -> None:
    evil = '<img src=x onerror="alert(1)">'
    answer = staff.post("/patients/new", {**ADA, "name": evil, "notes": evil}, follow_redirects=True)
    assert "&lt;img src=x" in answer.text and "<img" not in answer.text
