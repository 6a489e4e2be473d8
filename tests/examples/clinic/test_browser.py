"""The clinic as a person uses it, at a desk and on a phone."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.examples.clinic.browsing import ADA
from tests.examples.clinic.pages import DESKTOP, PHONE, Person, Served, chromium
from tests.examples.clinic.test_console import approve
from tests.support.skips import unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Where to keep pictures of the main pages: docs/images, for the README.
PICTURES = os.environ.get("CLINIC_PICTURES")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    path = shutil.which("chromium")
    if path is None:
        unavailable("chromium is not installed: apt-get install chromium")
    with chromium(path) as opened:
        yield opened


@pytest.fixture
def served(filled: Path, tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(filled, tmp_path / "data")
    running = Served(tmp_path / "data")
    yield running
    running.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desk", "phone"])
def person(request: Any, browser: "Browser", served: Served) -> Iterator[Person]:
    somebody = Person(browser, served, request.param)
    yield somebody
    somebody.close()


def test_the_staff_work_with_patients(person: Person, tmp_path: Path) -> None:
    person.go("/")
    assert "Three clinics share" in person.text
    person.follow("A guide leads through it")
    person.sign_in("reception@hillside.example")
    person.follow("Add a patient")
    for label, name in (("Name", "name"), ("Number", "number"), ("Born", "born"), ("Notes", "notes")):
        person.page.get_by_label(label).fill(ADA[name])
    person.press("Save")
    assert "The patient was added." in person.text
    person.page.get_by_label("When").fill(f"{datetime.now() + timedelta(days=30):%Y-%m-%dT10:30}")
    person.page.get_by_label("Reason").fill("Blood sample")
    person.press("Add an appointment")
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear colleague")
    person.page.get_by_label("File").set_input_files(letter)
    person.press("Add a document")
    with person.page.expect_download() as download:
        person.page.get_by_role("link", name="letter.txt").click()
    assert Path(download.value.path()).read_text() == "Dear colleague"
    person.follow("Edit")
    person.page.get_by_label("Notes").fill("Prefers evenings.")
    person.press("Save")
    assert "Prefers evenings." in person.text
    person.follow("Appointments")
    person.follow("Patients")
    person.page.get_by_label("Find by").select_option("part of the name")
    person.page.get_by_label("Look for").fill("velac")
    person.press("Search")
    assert "1 found" in person.text
    person.follow("Lovelace, Ada")
    person.follow("Delete")
    person.press("Delete")
    assert "The patient was deleted." in person.text
    person.press("Sign out")
    person.go("/patients")
    assert "Sign in" in person.text


def test_visitors_look_at_the_database_and_tamper_with_it(person: Person) -> None:
    person.sign_in("reception@hillside.example")
    person.follow("What the database sees")
    person.press("Swap the names")
    assert "TamperedError" in person.text
    person.follow("cmk_deks")
    person.go("/nothing")


def test_an_officer_looks_after_the_key(person: Person, served: Served) -> None:
    from playwright.sync_api import expect

    person.sign_in("security@hillside.example")
    person.follow("Keys")
    expect(person.page.locator("#countdown")).to_contain_text("data key", ignore_case=True)
    person.press("Add a second region")
    person.press("Remove the second region")
    person.page.get_by_role("button", name="New DEK, and re-encrypt").click()
    expect(person.page.locator("#said")).to_contain_text("done", timeout=60_000)
    # The page loads itself again then.
    expect(person.page.locator("#work")).to_have_attribute("data-phase", "done", timeout=60_000)
    person.look()
    person.go(f"{served.portal}/hillside")
    person.press("Rotate the key")
    person.go("/keys/hillside")
    person.press("Rewrap")
    person.follow("Before you switch it off")
    assert "patients.name" in person.text
    person.follow("Back to the keys")
    person.follow("Certificates and announcements")
    person.follow("Back to the keys")
    person.go("/keys/hillside/onboarding?check=now")
    assert "wraps and unwraps" in person.text
    person.go("/keys/hillside")
    person.page.get_by_text("Lock now").click()
    person.page.get_by_label("Why").fill("a laptop was stolen")
    person.press("Lock")
    assert "a laptop was stolen" in person.text
    person.go("/patients")
    assert "Your keys are locked" in person.text
    person.go("/keys/hillside")
    person.press("Unlock")
    approve(served.clinic, "hillside")
    person.press("Unlock")
    person.go(f"{served.portal}/")
    person.follow("Hillside Practice")
    person.press("Disable the key")
    served.clinic.storage.keyring.forget("hillside")
    person.go("/patients")
    assert "Your key is switched off" in person.text
    person.go("/keys/hillside")
    assert "revoked" in person.text
    person.go(f"{served.portal}/hillside")
    person.press("Enable the key")
    served.clinic.storage.keyring.forget("hillside")
    person.go("/patients")
    person.go("/keys/hillside")
    person.page.get_by_text("Leave, and destroy all keys").click()
    person.page.get_by_label("to confirm").fill("hillside")
    person.press("Destroy our keys")
    assert "Another person has to approve it" in person.text
    approve(served.clinic, "hillside")
    person.go("/keys/hillside")
    person.page.get_by_text("Leave, and destroy all keys").click()
    person.page.get_by_label("to confirm").fill("hillside")
    person.press("Destroy our keys")
    assert "nobody can read these rows" in person.text


def test_the_platform_sees_every_tenants_keys(person: Person) -> None:
    person.sign_in("keys@operations.example")
    assert "The audit trail holds" in person.text
    person.follow("Riverside Clinic")


def test_everything_is_reached_by_keyboard_alone(browser: "Browser", served: Served) -> None:
    person = Person(browser, served, DESKTOP)
    person.go("/sign-in?email=reception@hillside.example")
    keys = person.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(60):
            keys.press("Tab")
            named = "document.activeElement.innerText || document.activeElement.name"
            if person.page.evaluate(named) == name:
                outline = person.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"nothing shows that {name} is chosen"
                return
        raise AssertionError(f"{name} is not reached by the Tab key")

    tab_to("password")
    keys.type("open sesame 2026")
    keys.press("Enter")
    person.page.wait_for_url("**/patients")
    tab_to("Add a patient")
    keys.press("Enter")
    person.page.wait_for_url("**/new")
    for field in ("name", "number"):
        tab_to(field)
        keys.type(ADA[field])
    tab_to("born")
    keys.type("12101985")
    tab_to("Save")
    keys.press("Enter")
    person.page.wait_for_url("**/patients/*")
    assert "10 December 1985" in person.text
    person.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_are_seen_in_either_light(browser: "Browser", served: Served, scheme: str) -> None:
    person = Person(browser, served, DESKTOP, scheme)
    for name, email, path in (
        ("patients", "security@hillside.example", "/patients"),
        ("database", "security@hillside.example", "/database/"),
        ("keys", "security@hillside.example", "/keys/hillside"),
    ):
        if person.page.url == "about:blank":
            person.sign_in(email)
        person.go(path)
        if PICTURES:
            person.page.screenshot(path=f"{PICTURES}/clinic-{name}-{scheme}.png")
    person.go(f"{served.portal}/hillside")
    person.close()
