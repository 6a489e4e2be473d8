"""The page that shows the database, and the attempts to change it."""

import re

import pytest
from sqlalchemy import text

from examples.clinic.services.tampering import ATTEMPTS
from tests.examples.clinic.browsing import Browser, Clinic


@pytest.fixture
def staff(clinic: Clinic) -> Browser:
    return clinic.browser("reception@hillside.example")


def everything(clinic: Clinic) -> list[object]:
    queries = ("SELECT * FROM patients ORDER BY id", "SELECT id, tenant, state FROM cmk_deks ORDER BY id")
    with clinic.storage.engine.connect() as connection:
        return [connection.execute(text(query)).all() for query in queries]


def test_bytes_are_shown_in_their_parts_with_what_the_own_key_opens(clinic: Clinic, staff: Browser) -> None:
    page = staff.page("/database/")
    (name,) = re.findall(r'/patients/\d+">([^<]+)', staff.page("/patients"))[:1]
    assert f'<span class="opened">{name}</span>' in page
    assert '<span class="suite">01</span>' in page and "name_prefix" in page
    other = clinic.browser("reception@riverside.example").page("/database/")
    assert f'<span class="opened">{name}</span>' not in other and name not in other


def test_every_table_is_shown(clinic: Clinic, staff: Browser) -> None:
    page = staff.page("/database/")
    for path in re.findall(r'href="(/database/\w+)"', page):
        assert "<table" in staff.page(path), path
    assert "cmk_deks" in page and staff.get("/database/nothing").status_code == 404


@pytest.mark.parametrize("what", ATTEMPTS)
def test_each_attempt_is_noticed_and_undone(clinic: Clinic, staff: Browser, what: str) -> None:
    before = everything(clinic)
    page = staff.post(f"/database/try/{what}", {}, seen_at="/database/").text
    assert "gave <code>TamperedError</code>" in page, re.findall(r'role="status">.*', page)
    assert everything(clinic) == before
    assert staff.get("/patients").status_code == 200


def test_rows_stay_closed_while_the_key_is_off(clinic: Clinic, staff: Browser) -> None:
    clinic.customer("hillside", "disable")
    page = staff.page("/database/")
    assert 'class="opened"' not in page and '<span class="suite">01</span>' in page
    assert "KeyRevoked" in staff.post("/database/try/flip", {}, seen_at="/database/").text


def test_outside_the_demonstration_there_is_no_such_page(clinic: Clinic, staff: Browser) -> None:
    token = staff.token("/database/")
    clinic.app.config["DEMONSTRATION"] = False
    assert staff.get("/database/").status_code == 404
    assert staff.http.post("/database/try/flip", data={"csrf_token": token}).status_code == 404
    assert "open sesame" not in clinic.browser().page("/sign-in")
