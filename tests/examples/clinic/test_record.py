"""What a clinic learns of its key, and the certificates of what was done with it."""

import json
import re
from io import BytesIO
from pathlib import Path

import pytest

from tests.examples.clinic.browsing import Browser, Clinic
from tests.examples.clinic.pages import Served
from tests.examples.clinic.test_console import HILLSIDE, press
from tests.support.processes import await_true


@pytest.fixture
def officer(clinic: Clinic) -> Browser:
    return clinic.browser("security@hillside.example")


def certificate_of(browser: Browser) -> bytes:
    """Fetch the newest certificate of Hillside's."""
    found = re.search(rf"{HILLSIDE}/record/[\w-]+\.json", browser.page(f"{HILLSIDE}/record"))
    assert found is not None
    return browser.get(found[0]).data


def verified(clinic: Clinic, certificate: bytes) -> str:
    """Have the customer's own application verify a certificate, and return what it says."""
    form = {"file": (BytesIO(certificate), "certificate.json")}
    browser = Browser(clinic.portal)
    return browser.post("/hillside/verify", form, seen_at="/hillside", follow_redirects=True).text


def test_what_was_done_with_a_key_is_certified_and_verified_by_the_customer(
    clinic: Clinic, officer: Browser
) -> None:
    clinic.customer("hillside", "rotate")
    press(officer, "hillside", "rewrap")
    certificate = certificate_of(officer)
    assert json.loads(certificate)["certificate"]["operation"] == "rewrap"
    assert "Intact, and issued by the clinic application: rewrap of hillside" in verified(clinic, certificate)
    assert "altered" in verified(clinic, certificate.replace(b"rewrap", b"repawr"))
    assert "this is not a certificate" in verified(clinic, b"{}")


def test_nobody_else_fetches_a_clinics_certificates(clinic: Clinic, officer: Browser) -> None:
    press(officer, "hillside", "rewrap")
    found = re.search(r"/record/([\w-]+)\.json", officer.page(f"{HILLSIDE}/record"))
    assert found is not None
    other = clinic.browser("security@riverside.example")
    for path in (f"{HILLSIDE}/record", f"{HILLSIDE}/record/{found[1]}.json"):
        assert other.get(path).status_code == 404
    assert other.get(f"/keys/riverside/record/{found[1]}.json").status_code == 404
    assert officer.get(f"{HILLSIDE}/record/..%2F..%2Fkeys.json").status_code == 404


def test_a_clinics_own_application_is_told_of_its_key_and_of_no_other(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        clinic = served.clinic
        officer = clinic.browser("security@hillside.example")
        press(officer, "hillside", "lock", typed="a laptop was stolen")
        customer = Browser(clinic.portal)
        await_true(lambda: "<td>locked</td>" in customer.page("/hillside"))
        assert "a laptop was stolen" in customer.page("/hillside")
        assert "<td>locked</td>" not in customer.page("/riverside")
        page = officer.page(f"{HILLSIDE}/record")
        assert "locked" in page
    finally:
        served.close()


def test_the_customers_application_believes_no_message_that_is_not_signed(clinic: Clinic) -> None:
    http = clinic.portal.test_client()
    assert http.post("/hillside/events", json={"id": "1", "data": {"kind": "locked"}}).status_code == 401
    assert http.post("/nobody/events", json={}).status_code == 404
    assert "<td>locked</td>" not in Browser(clinic.portal).page("/hillside")
