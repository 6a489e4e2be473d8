"""What the clinics' staff do: patients, search, appointments, documents."""

import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from examples.clinic.services import documents
from tests.examples.clinic.browsing import ADA, Browser, Clinic

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def staff(clinic: Clinic) -> Browser:
    return clinic.browser("reception@hillside.example")


def add_ada(staff: Browser) -> str:
    answer = staff.post("/patients/new", ADA)
    assert answer.status_code == 303, answer.text
    return answer.location


def search(staff: Browser, kind: str, text: str) -> str:
    return staff.post("/patients/search", {"kind": kind, "text": text}, seen_at="/patients").text


def assert_a_patient_lives(staff: Browser) -> None:
    """A patient is added, found by each question, changed, and deleted with what belongs to them."""
    where = add_ada(staff)
    page = staff.page(where)
    assert "Lovelace, Ada" in page and "10 December 1985" in page and "Prefers mornings." in page
    for kind, words in (
        ("beginning", "LOVE"),
        ("part", "lace, a"),
        ("number", "900-01-9901"),
        ("year", "1985"),
    ):
        assert "Lovelace, Ada" in search(staff, kind, words), kind
    for kind, words in (("beginning", "ada"), ("part", "xyz"), ("number", "900-01-990"), ("year", "1984")):
        assert "Lovelace, Ada" not in search(staff, kind, words), kind
    answer = staff.post(f"{where}/edit", {**ADA, "name": "King, Ada"}, follow_redirects=True)
    assert "King, Ada" in answer.text and "Lovelace" not in answer.text
    assert "Nobody" in search(staff, "beginning", "love")
    at = (datetime.now() + timedelta(days=1)).strftime("%Y-%m-%dT10:15")
    staff.post(f"{where}/appointments", {"at": at, "reason": "Blood sample"})
    assert "Blood sample" in staff.page(where) and "King, Ada" in staff.page("/appointments")
    assert "PNG" in staff.upload(f"{where}/documents", PNG * 50_000, "scan.png", "A scan")
    found = re.search(r'href="(/documents/\d+)"', staff.page(where))
    assert found and staff.get(found[1]).data == PNG * 50_000
    assert "King, Ada" in staff.page(f"{where}/delete")
    staff.post(f"{where}/delete", {})
    assert staff.get(where).status_code == 404 and staff.get(found[1]).status_code == 404
    assert "Nobody" in search(staff, "beginning", "king")


def test_a_patient_lives_on_sqlite(staff: Browser) -> None:
    assert_a_patient_lives(staff)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_patient_lives_on_a_server(clinic_on_server: Clinic) -> None:
    staff = clinic_on_server.browser("security@hillside.example")
    assert_a_patient_lives(staff)
    for what in ("flip", "relabel"):
        answer = staff.post(f"/database/try/{what}", {}, seen_at="/database/")
        assert "TamperedError" in answer.text, what
    assert "the customer (CMK)" in staff.page("/keys/hillside")


def test_nothing_that_was_typed_is_in_the_database(staff: Browser, clinic: Clinic) -> None:
    where = add_ada(staff)
    staff.upload(f"{where}/documents", b"Very private words, many of them.", "letter.txt", "Private letter")
    clinic.close()
    stored = b"".join(one.read_bytes() for one in clinic.storage.folder.glob("clinic.db*"))
    for secret in (
        b"Lovelace",
        b"900-01-9901",
        b"Prefers mornings",
        b"Very private",
        b"Private letter",
        b"reception@",
    ):
        assert secret not in stored, secret


def test_the_list_has_pages_in_either_order(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.clinic.services.patients.PAGE_SIZES", (4, 5))
    staff = clinic.browser("reception@riverside.example")
    numbers = clinic.numbers("patients", "riverside")

    def shown(path: str) -> list[int]:
        return [int(one) for one in re.findall(r'/patients/(\d+)"', staff.page(path))]

    assert shown("/patients") == numbers[:4]
    assert shown(f"/patients?after={numbers[3]}&size=5") == numbers[4:9]
    assert shown("/patients?order=newest") == numbers[::-1][:4]
    assert staff.get("/patients?size=1000000").status_code == 404


def test_a_form_with_a_fault_says_what_to_do_and_keeps_what_was_typed(staff: Browser) -> None:
    faults = {
        "Type a name.": {"name": " "},
        "Type a number of 11 characters at most": {"number": "1234567890123"},
        "Type a date of birth.": {"born": "yesterday"},
        "not in the future": {"born": "2099-01-01"},
    }
    for said, fault in faults.items():
        answer = staff.post("/patients/new", {**ADA, **fault})
        assert answer.status_code == 422 and said in answer.text and "Prefers mornings." in answer.text, said
    add_ada(staff)
    again = staff.post("/patients/new", {**ADA, "name": "Another"})
    assert again.status_code == 422 and "Another patient has this number." in again.text


def test_an_appointment_is_made_for_the_future_and_cancelled(staff: Browser) -> None:
    where = add_ada(staff)
    for form in (
        {"at": "2001-01-01T10:00", "reason": "x"},
        {"at": "soon", "reason": "x"},
        {"at": "", "reason": ""},
    ):
        assert 'class="problem"' in staff.post(f"{where}/appointments", form, follow_redirects=True).text
    at = (datetime.now() + timedelta(days=2)).strftime("%Y-%m-%dT09:00")
    page = staff.post(f"{where}/appointments", {"at": at, "reason": "Skin check"}, follow_redirects=True).text
    found = re.search(r'action="(/appointments/\d+/cancel)"', page)
    assert found
    assert "Skin check" not in staff.post(found[1], {}, follow_redirects=True).text


def test_a_document_comes_back_byte_by_byte_as_an_attachment(staff: Browser) -> None:
    where = add_ada(staff)
    content = b"%PDF-1.7\n" + bytes(range(256)) * 3_000  # of three parts
    staff.upload(f"{where}/documents", content, "report.pdf", "Report")
    found = re.search(r'href="(/documents/\d+)"', staff.page(where))
    assert found
    answer = staff.get(found[1])
    assert answer.data == content and answer.content_length == len(content)
    assert answer.mimetype == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "Report" not in staff.post(f"{found[1]}/delete", {}, follow_redirects=True).text


def test_a_text_may_end_a_part_within_a_character(staff: Browser) -> None:
    where = add_ada(staff)
    content = ("x" * (documents.PART - 1) + "é" * 10).encode()
    assert "TXT" in staff.upload(f"{where}/documents", content, "long.txt")
    assert "none, whatever its name" in staff.upload(f"{where}/documents", content[:-1], "cut.txt")


def test_parts_in_another_order_do_not_open(staff: Browser, clinic: Clinic) -> None:
    where = add_ada(staff)
    staff.upload(f"{where}/documents", PNG * 100_000, "scan.png")
    (number,) = clinic.execute("SELECT max(id) FROM documents").one()
    moved = "UPDATE document_parts SET place = :b WHERE document_id = :n AND place = :a"
    for place, other in ((0, 9), (1, 0), (9, 1)):
        clinic.execute(moved, a=place, b=other, n=number)
    answer = staff.get(f"/documents/{number}")
    assert answer.status_code == 500 and "This was altered" in answer.text


def test_a_document_that_lost_a_part_is_not_given_out_as_whole(staff: Browser, clinic: Clinic) -> None:
    where = add_ada(staff)
    staff.upload(f"{where}/documents", PNG * 100_000, "scan.png")
    (number,) = clinic.execute("SELECT max(id) FROM documents").one()
    clinic.execute("DELETE FROM document_parts WHERE document_id = :n AND place = 1", n=number)
    answer = staff.get(f"/documents/{number}")
    with pytest.raises(documents.Incomplete, match="part 1 is missing"):
        assert answer.data


def test_while_a_key_is_off_its_clinic_sees_a_calm_page_and_the_others_work(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    clinic.customer("hillside", "disable")
    for path in ("/patients", "/appointments", f"/patients/{clinic.numbers('patients', 'hillside')[0]}"):
        answer = staff.get(path)
        assert answer.status_code == 403 and "Your key is switched off" in answer.text, path
    assert staff.post("/patients/new", ADA).status_code == 403
    assert clinic.browser("security@hillside.example").get("/patients").status_code == 403
    assert "Patients" in clinic.browser("reception@riverside.example").page("/patients")
    clinic.customer("hillside", "enable")
    assert "Patients" in staff.page("/patients")


def test_a_key_that_is_switched_off_is_noticed_within_the_bound(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.clinic.storage.REVALIDATE_AFTER", 1)
    clinic.close()
    quick = Clinic(tmp_path / "data")
    staff = quick.browser("reception@hillside.example")
    others = quick.browser("reception@riverside.example")
    assert staff.get("/patients").status_code == 200
    quick.customer("hillside", "disable", noticed=False)
    began = time.monotonic()
    while staff.get("/patients").status_code == 200:
        assert time.monotonic() - began < 30, "the page is still there"
        assert others.get("/patients").status_code == 200
    assert staff.get("/patients").status_code == 403
    assert others.get("/patients").status_code == 200
    quick.close()


def test_while_a_vault_is_out_of_reach_people_are_asked_to_come_back(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    keys = clinic.storage.folder / "vaults" / "hillside.json"
    keys.rename(keys.with_suffix(".away"))
    clinic.storage.keyring.forget("hillside")
    answer = staff.get("/patients")
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    assert "Your key cannot be reached" in answer.text and "switched off" not in answer.text


def test_what_belongs_to_the_platforms_staff_is_no_patient(clinic: Clinic) -> None:
    operator = clinic.browser("keys@operations.example")
    assert operator.get("/patients").status_code == 404


def test_the_seed_leaves_a_database_alone_that_has_people(clinic: Clinic) -> None:
    with clinic.storage.engine.connect() as connection:
        before = connection.scalar(text("SELECT count(*) FROM patients"))
    Clinic(clinic.storage.folder).close()
    with clinic.storage.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM patients")) == before
