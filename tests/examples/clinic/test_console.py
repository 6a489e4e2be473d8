"""The key console: who sees it, and what each button does."""

import json
import re

import pytest

from examples.clinic.services import reencryption
from examples.clinic.services.reencryption import Reencryptions
from examples.clinic.storage import REVALIDATE_AFTER
from tests.examples.clinic.browsing import Browser, Clinic

HILLSIDE = "/keys/hillside"


@pytest.fixture
def officer(clinic: Clinic) -> Browser:
    return clinic.browser("security@hillside.example")


@pytest.fixture
def works(clinic: Clinic) -> Reencryptions:
    found: Reencryptions = clinic.app.extensions["clinic_reencryptions"]
    return found


def press(browser: Browser, tenant: str, action: str, **form: str) -> str:
    where = f"/keys/{tenant}"
    answer = browser.post(f"{where}/{action}", form, seen_at=where, follow_redirects=True)
    assert answer.status_code == 200, answer.status
    return answer.text


def request_on(page: str) -> str:
    """Return the address at which the request that a page shows is approved."""
    found = re.search(r'action="(/keys/\w+/requests/[^"]+/approve)"', page)
    assert found is not None
    return found[1]


def approve(clinic: Clinic, tenant: str) -> None:
    """Have the platform's operator approve what a clinic's officer has asked for."""
    operator, where = clinic.browser("keys@operations.example"), f"/keys/{tenant}"
    address = request_on(operator.page(where))
    answer = operator.post(address, {}, seen_at=where, follow_redirects=True)
    assert "Approved." in answer.text


def test_an_officer_sees_the_clinics_own_keys_and_the_platform_sees_all(
    clinic: Clinic, officer: Browser
) -> None:
    assert officer.get("/keys/").location == HILLSIDE
    page = officer.page(HILLSIDE)
    assert "the customer (CMK)" in page and "local:hillside-vault/clinic-kek" in page and "holds:" in page
    operator = clinic.browser("keys@operations.example")
    everybody = operator.page("/keys/")
    assert all(f"/keys/{one}" in everybody for one in ("hillside", "riverside", "lakeside"))
    assert "the platform (PMK)" in operator.page("/keys/riverside")


def test_nobody_else_learns_of_a_tenants_keys(clinic: Clinic, officer: Browser) -> None:
    reception = clinic.browser("reception@hillside.example")
    other = clinic.browser("security@riverside.example")
    for browser, path in (
        (reception, HILLSIDE),
        (reception, "/keys/"),
        (other, HILLSIDE),
        (officer, "/keys/nobody"),
    ):
        assert browser.get(path).status_code == 404, path
    for action in ("rewrap", "own_key", "platform_key", "rotate_dek", "shred", "work/cancel", "work/resume"):
        form = {"typed": "hillside"}
        for browser in (reception, other):
            answer = browser.post(f"{HILLSIDE}/{action}", form, seen_at="/patients")
            assert answer.status_code == 404, action
    for path in ("state", "work"):
        assert other.get(f"{HILLSIDE}/{path}").status_code == 404
    assert clinic.storage.keyring.status(["hillside"])[0].owner == "customer"


def test_the_platforms_operator_cannot_take_or_destroy_a_customers_key(clinic: Clinic) -> None:
    operator = clinic.browser("keys@operations.example")
    for action in ("platform_key", "own_key", "add_region", "drop_region", "shred"):
        answer = operator.post(f"{HILLSIDE}/{action}", {"typed": "hillside"}, seen_at="/keys/")
        assert answer.status_code == 404, action
    assert "Destroy our keys" not in operator.page(HILLSIDE)


def test_a_clinic_takes_its_key_and_gives_it_back_and_its_patients_stay(clinic: Clinic) -> None:
    officer = clinic.browser("security@riverside.example")
    before = officer.page("/patients")
    assert "The customer&#39;s key wraps" in press(officer, "riverside", "own_key")
    assert "the customer (CMK)" in officer.page("/keys/riverside")
    assert officer.get("/patients").status_code == 200
    clinic.customer("riverside", "disable")
    assert officer.get("/patients").status_code == 403
    assert "KeyRevoked" in press(officer, "riverside", "platform_key")  # a key that is off cannot be left
    clinic.customer("riverside", "enable")
    assert "platform&#39;s key wraps" in press(officer, "riverside", "platform_key")

    def names(page: str) -> list[str]:
        return re.findall(r'/patients/\d+">([^<]+)', page)

    assert names(officer.page("/patients")) == names(before)


def test_a_rotated_kek_is_seen_and_rewrapped(clinic: Clinic, officer: Browser) -> None:
    clinic.customer("hillside", "rotate")
    assert ": rewrap" in officer.page(HILLSIDE)
    assert "by the newest version" in press(officer, "hillside", "rewrap")
    assert ": rewrap" not in officer.page(HILLSIDE)


def test_a_second_region_is_added_and_removed(officer: Browser) -> None:
    page = press(officer, "hillside", "add_region")
    assert "local:hillside-vault-west/clinic-kek" in page and "Remove the second region" in page
    assert "local:hillside-vault-west" not in press(officer, "hillside", "drop_region")


def test_rows_are_re_encrypted_under_a_new_dek_and_the_bar_moves(
    clinic: Clinic, officer: Browser, works: Reencryptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "RATE", 10_000.0)
    press(officer, "hillside", "rotate_dek")
    events = officer.get(f"{HILLSIDE}/work")
    assert events.mimetype == "text/event-stream"
    sent = [json.loads(one) for one in re.findall(r"data: (.+)", events.text)]
    assert sent[-1]["phase"] == "done" and sent[-1]["changed"] >= 7 + 2
    page = officer.page(HILLSIDE)
    assert re.search(r'retired</td>\s*<td data-label="Values">0<', page)
    assert officer.get("/patients").status_code == 200


def test_a_re_encryption_is_cancelled_and_goes_on(
    clinic: Clinic, officer: Browser, works: Reencryptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "RATE", 1.0)
    monkeypatch.setattr(reencryption, "CHUNK", 1)
    press(officer, "hillside", "rotate_dek")
    assert "Resume" in press(officer, "hillside", "work/cancel")
    assert works.state("hillside").phase == "cancelled"
    monkeypatch.setattr(reencryption, "RATE", 10_000.0)
    press(officer, "hillside", "work/resume")
    assert works.wait("hillside").phase == "done"


def test_leaving_takes_the_name_and_is_for_good(clinic: Clinic, officer: Browser) -> None:
    assert "nothing was shredded" in press(officer, "hillside", "shred", typed="hilside")
    assert officer.get("/patients").status_code == 200
    assert "Another person has to approve it" in press(officer, "hillside", "shred", typed="hillside")
    assert officer.get("/patients").status_code == 200
    approve(clinic, "hillside")
    assert "nobody can read these rows" in press(officer, "hillside", "shred", typed="hillside")
    answer = officer.get("/patients")
    assert answer.status_code == 403 and "Your keys were destroyed" in answer.text
    assert "Destroy our keys" not in officer.page(HILLSIDE)
    assert clinic.browser("reception@riverside.example").get("/patients").status_code == 200


def test_the_console_says_how_long_open_keys_could_be_used(clinic: Clinic, officer: Browser) -> None:
    officer.page("/patients")
    said = officer.get(f"{HILLSIDE}/state").json
    assert said is not None and said["state"] == "ok" and said["open"] >= 1
    assert 0 < said["seconds"] <= clinic.storage.keyring.revalidate_after
    clinic.customer("hillside", "disable")
    officer.get("/patients")
    assert officer.get(f"{HILLSIDE}/state").json == {"state": "revoked", "open": 0, "seconds": 0}


def test_the_trail_says_which_staff_acted(clinic: Clinic, officer: Browser) -> None:
    press(officer, "hillside", "rewrap")
    clinic.customer("hillside", "rotate")
    press(officer, "hillside", "rewrap")
    assert re.search(r"staff \d+ of hillside</td><td[^>]*>[^<]*page console.act", officer.page(HILLSIDE))


def test_a_clinic_locks_its_keys_says_why_and_unlocks_them(clinic: Clinic, officer: Browser) -> None:
    assert officer.get("/patients").status_code == 200
    page = press(officer, "hillside", "lock", typed="a laptop was stolen")
    assert "a laptop was stolen" in page and "Unlock" in page
    answer = officer.get("/patients")
    assert answer.status_code == 403 and "Your keys are locked" in answer.text
    assert clinic.browser("reception@riverside.example").get("/patients").status_code == 200
    assert "Another person has to approve it" in press(officer, "hillside", "unlock")
    approve(clinic, "hillside")
    assert "Lock now" in press(officer, "hillside", "unlock")
    assert officer.get("/patients").status_code == 200


def test_before_a_key_is_switched_off_the_console_says_what_will_stop(
    clinic: Clinic, officer: Browser
) -> None:
    page = officer.page(f"{HILLSIDE}/impact")
    assert "patients.name" in page and f"within {REVALIDATE_AFTER} seconds" in page
    assert "riverside" not in page and "Old backups" not in page
    assert clinic.browser("security@riverside.example").get(f"{HILLSIDE}/impact").status_code == 404


def test_a_clinic_sees_whether_its_own_key_is_fit_before_it_is_taken(clinic: Clinic) -> None:
    officer = clinic.browser("security@riverside.example")
    where = "/keys/riverside/onboarding"
    assert "local:riverside-vault/clinic-kek" in officer.page(where)
    clinic.customer("riverside", "disable")
    page = officer.page(f"{where}?check=now")
    assert "failed" in page and "cannot be used yet" in page and "Switch to this key" not in page
    clinic.customer("riverside", "enable")
    assert "Switch to this key" in officer.page(f"{where}?check=now")
    assert "the customer (CMK)" in press(officer, "riverside", "own_key")
    assert officer.get(f"{HILLSIDE}/onboarding").status_code == 404


def test_nobody_approves_what_they_have_asked_for_or_what_is_anothers(
    clinic: Clinic, officer: Browser
) -> None:
    page = press(officer, "hillside", "shred", typed="hillside")
    assert "Waiting for a second person" in page and "/approve" not in page
    address = request_on(clinic.browser("keys@operations.example").page(HILLSIDE))
    answer = officer.post(address, {}, seen_at=HILLSIDE, follow_redirects=True)
    assert "another person has to approve it" in answer.text
    other = clinic.browser("security@riverside.example")
    assert other.post(address, {}, seen_at="/keys/riverside").status_code == 404
    assert "Another person" in press(officer, "hillside", "shred", typed="hillside")
    refuse = address.removesuffix("approve") + "refuse"
    operator = clinic.browser("keys@operations.example")
    assert "Refused." in operator.post(refuse, {}, seen_at=HILLSIDE, follow_redirects=True).text
    assert "Waiting for" not in officer.page(HILLSIDE) and officer.get("/patients").status_code == 200
