"""The customers' portal: the key's owner switches it, and sees who asked for it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.clinic.storage import Storage
from examples.portal.azure import emulated
from tests.examples.clinic.browsing import Browser, Clinic
from tests.examples.clinic.conftest import few_patients


def buttons(clinic: Clinic, name: str) -> list[str]:
    page = Browser(clinic.portal).page(f"/{name}")
    return [one for one in ("Disable", "Enable", "Rotate", "Delete", "Recover") if f">{one} the key<" in page]


@pytest.fixture
def clinic_on_azure(tmp_path: Path) -> Iterator[Clinic]:
    """The clinic whose customers have their keys in vaults of the Key Vault emulator."""
    with (
        emulated({"hillside": "Hillside Practice", "riverside": "Riverside Clinic"}) as vaults,
        few_patients(),
    ):
        opened = Clinic(tmp_path, vaults=vaults)
        yield opened
        opened.close()


def test_a_key_in_a_folder_is_switched_off_and_on_deleted_and_recovered(clinic: Clinic) -> None:
    assert_owner_decides(clinic)


def test_a_key_in_key_vault_is_switched_off_and_on_deleted_and_recovered(clinic_on_azure: Clinic) -> None:
    assert_owner_decides(clinic_on_azure)
    page = Browser(clinic_on_azure.portal).page("/hillside")
    assert "403 KeyDisabled" in page and "unwrapKey" in page and "https://127." in page


def assert_owner_decides(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    for action, works, left in (
        ("disable", False, ["Enable", "Delete"]),
        ("enable", True, ["Disable", "Rotate", "Delete"]),
        ("delete", False, ["Recover"]),
        ("recover", True, ["Disable", "Rotate", "Delete"]),
        ("rotate", True, ["Disable", "Rotate", "Delete"]),
    ):
        clinic.customer("hillside", action)
        assert (staff.get("/patients").status_code == 200) is works, action
        assert buttons(clinic, "hillside") == left, action
    assert "(newest: it wraps)" in Browser(clinic.portal).page("/hillside")


def test_the_owner_sees_who_asked_for_the_key_and_what_came_of_it(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    clinic.customer("hillside", "disable")
    staff.get("/patients")
    page = Browser(clinic.portal).page("/hillside")
    assert "KeyRevoked" in page and "the clinic application" in page
    assert ">revoked<" in page and ">unwrap<" in page
    assert re.search(
        r"application</td><td>revoked</td><td>staff \d+ of hillside</td><td>[^<]*page patients.index<", page
    )


def test_only_a_form_of_the_portal_changes_a_key(clinic: Clinic) -> None:
    browser = Browser(clinic.portal)
    token = clinic.browser().token("/sign-in")
    for form in ({}, {"csrf_token": token}):
        assert browser.http.post("/hillside/disable", data=form).status_code == 400
    assert browser.post("/hillside/enable", {}, seen_at="/hillside").status_code == 409  # it is on
    assert browser.get("/nobody").status_code == 404
    assert clinic.storage.vaults["hillside"].state == "enabled"


def test_one_customers_key_serves_nobody_else(clinic: Clinic) -> None:
    hillside = clinic.storage.vaults["hillside"].kek_uri
    assert clinic.storage.may_serve("hillside", hillside)
    assert not clinic.storage.may_serve("riverside", hillside)
    assert not clinic.storage.may_serve("lakeside", "https://evil.vault.azure.net/keys/k")


def test_a_real_key_vault_takes_the_place_of_the_emulated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kek_uri = "https://hillside.vault.azure.net/keys/clinic-kek"
    monkeypatch.setenv("CLINIC_KEY_VAULT", kek_uri)
    storage = Storage(tmp_path)
    assert storage.vaults["hillside"].kek_uri == kek_uri and storage.vaults["hillside"].actions == ()
    assert storage.may_serve("hillside", kek_uri) and not storage.may_serve("riverside", kek_uri)
    assert storage.keyring.provider_of(kek_uri).handles(kek_uri)
    storage.close()
