"""A tenant leaves: its rows are exported, its keys destroyed, and nothing is lost on the way."""

import json
import os
import signal
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sqlalchemy_cmk import ApprovalRequired, ConfigurationError, KeyRevoked, TamperedError
from sqlalchemy_cmk.certificates import verify
from sqlalchemy_cmk.offboarding import offboard, open_export
from sqlalchemy_cmk.offboarding.folder import Folder
from tests.offboarding.conftest import PATIENT, Clinic, Patient, open_clinic
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.offboarding import offboard
from tests.offboarding.conftest import open_clinic

url, folder, after = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "after"
shred = Lifecycle.shred

def killed(self, tenant, *, confirm):
    if after:
        shred(self, tenant, confirm=confirm)
    os.kill(os.getpid(), signal.SIGKILL)

Lifecycle.shred = killed
offboard(open_clinic(url, folder).keyring, "acme", folder / "out", confirm="acme")
"""


def lines(path: Path) -> list[Any]:
    return [json.loads(one) for one in path.read_text().splitlines()]


def state(clinic: Clinic, tenant: str = "acme") -> str:
    (line,) = clinic.keyring.status([tenant])
    return str(line.state)


@pytest.mark.usefixtures("drivers")
def test_a_tenant_leaves_with_its_rows_in_the_clear(clinic: Clinic) -> None:
    done = offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    head, first, second = lines(clinic.out / "patients.jsonl")
    assert (head["format"], head["tenant"], head["table"]) == ("sqlalchemy_cmk export 1", "acme", "patients")
    assert [(one["name"], one["type"], one["sealed"]) for one in head["columns"]][2:4] == [
        ("name", "String", True),
        ("born", "Date", True),
    ]
    assert first == PATIENT | {"id": first["id"]}
    assert second["clinic"] == "acme" and second["name"] is None
    (letter,) = lines(clinic.out / "letters.jsonl")[1:]
    assert letter["body"] == "Dear acme"
    assert len(lines(clinic.out / "documents.jsonl")) == len(lines(clinic.out / "rooms.jsonl")) == 2
    assert not (clinic.out / "countries.jsonl").exists()

    certificate = verify((clinic.out / "certificate.json").read_bytes()).certificate
    assert certificate == done.certificate.certificate and certificate.operation == "offboard"
    assert {one.table: one.rows for one in certificate.files} == {
        "patients": 2,
        "documents": 1,
        "letters": 1,
        "rooms": 1,
    }
    for one in certificate.files:
        path = clinic.out / one.name
        assert sha256(path.read_bytes()).hexdigest() == one.sha256
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(clinic.out.stat().st_mode) == 0o700
    assert len(certificate.destroyed) == 3 and certificate.after.under("active") == 0
    assert certificate.result == {"exported": 5, "export": "in the clear", "tables of no tenant": "countries"}
    assert state(clinic) == "shredded" and clinic.names("globex") == [PATIENT["name"], None]
    with pytest.raises(KeyRevoked):
        clinic.names("acme")


def test_only_the_named_key_opens_what_was_sealed_for_it(sqlite_clinic: Clinic, private_key: Path) -> None:
    clinic, public = sqlite_clinic, private_key.with_name("public.pem").read_bytes()
    offboard(clinic.keyring, "acme", clinic.out, confirm="acme", sealed_for=public)
    sealed = clinic.out / "patients.jsonl.sealed"
    assert b"acme" not in sealed.read_bytes() and not list(clinic.out.glob("*.jsonl"))
    open_export(sealed, clinic.folder / "opened", private_key)
    assert lines(clinic.folder / "opened")[1] == PATIENT
    certificate = verify((clinic.out / "certificate.json").read_bytes()).certificate
    assert certificate.result["export"] == "sealed for the key that was named"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_killed_goes_on(
    when: str, sqlite_clinic: Clinic, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic = sqlite_clinic
    arguments = [sys.executable, "-c", KILLED, sqlite_database.url, str(clinic.folder), when]
    killed = subprocess.run(
        arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(lines(clinic.out / "patients.jsonl")) == 3 and not (clinic.out / "certificate.json").exists()
    if when == "before":
        clinic.add(Patient(clinic="acme", name="a late one"))
    clinic.keyring.forget()
    done = offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    assert len(lines(clinic.out / "patients.jsonl")) == (4 if when == "before" else 3)
    certificate = done.certificate.certificate
    assert state(clinic) == "shredded" and len(certificate.destroyed) == 3
    assert "shred" in [one.event for one in certificate.trail]
    with pytest.raises(ConfigurationError, match="was offboarded already"):
        offboard(clinic.keyring, "acme", clinic.out, confirm="acme")


def test_rows_that_change_meanwhile_keep_the_keys(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Folder.check

    def late(self: Folder, files: Any) -> None:
        check(self, files)
        clinic.add(Patient(clinic="acme", name="a late one"))

    monkeypatch.setattr(Folder, "check", late)
    with pytest.raises(
        ConfigurationError, match="changed while they were exported, and nothing was destroyed"
    ):
        offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    assert state(clinic) == "ok" and not list(clinic.out.glob("*.jsonl"))
    monkeypatch.undo()
    assert offboard(clinic.keyring, "acme", clinic.out, confirm="acme").files[0].rows in (1, 3)
    assert len(lines(clinic.out / "patients.jsonl")) == 4


def test_a_file_that_does_not_read_back_keeps_the_keys(
    sqlite_clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Folder.check

    def damaged(self: Folder, files: Any) -> None:
        with open(self.path / "patients.jsonl", "r+b") as file:
            file.seek(10)
            file.write(b"\x00")
        check(self, files)

    monkeypatch.setattr(Folder, "check", damaged)
    with pytest.raises(ConfigurationError, match="not as it was exported"):
        offboard(sqlite_clinic.keyring, "acme", sqlite_clinic.out, confirm="acme")
    assert state(sqlite_clinic) == "ok"


def test_a_damaged_value_keeps_the_keys(sqlite_clinic: Clinic) -> None:
    with sqlite_clinic.engine.begin() as connection:
        connection.execute(text("UPDATE patients SET scan = name WHERE clinic = 'acme'"))
    with pytest.raises(TamperedError):
        offboard(sqlite_clinic.keyring, "acme", sqlite_clinic.out, confirm="acme")
    assert state(sqlite_clinic) == "ok" and not list(sqlite_clinic.out.glob("*.jsonl"))


def test_a_revoked_tenant_leaves_without_its_rows_and_only_when_that_is_said(sqlite_clinic: Clinic) -> None:
    clinic = sqlite_clinic
    clinic.provider.disable("local:acme")
    clinic.keyring.forget()
    with pytest.raises(KeyRevoked, match=r"nothing can be exported .*--without-export"):
        offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    assert state(clinic) == "revoked"
    done = offboard(clinic.keyring, "acme", clinic.out, confirm="acme", export=False)
    assert done.files == () and state(clinic) == "shredded"
    assert done.certificate.certificate.result["export"] == "none"


@pytest.mark.parametrize(
    ("tenant", "confirm"), [("acme", "globex"), ("acme", ""), ("", ""), ("nobody", "nobody")]
)
def test_nothing_is_done_for_another_name(sqlite_clinic: Clinic, tenant: str, confirm: str) -> None:
    with pytest.raises(ConfigurationError):
        offboard(sqlite_clinic.keyring, tenant, sqlite_clinic.out, confirm=confirm)
    assert state(sqlite_clinic) == "ok" and not sqlite_clinic.out.exists()


def test_a_folder_of_somebody_else_is_left_as_it_is(sqlite_clinic: Clinic) -> None:
    clinic = sqlite_clinic
    clinic.out.mkdir()
    (clinic.out / "patients.jsonl").write_text("kept")
    for path in (clinic.out, clinic.folder / "keys.json", clinic.folder / "no" / "such"):
        with pytest.raises(ConfigurationError, match="name a new folder"):
            offboard(clinic.keyring, "acme", path, confirm="acme")
    assert (clinic.out / "patients.jsonl").read_text() == "kept"
    offboard(clinic.keyring, "globex", clinic.folder / "globex", confirm="globex")
    with pytest.raises(ConfigurationError, match="the folder of another offboarding"):
        offboard(clinic.keyring, "acme", clinic.folder / "globex", confirm="acme")
    assert state(clinic) == "ok"


def test_a_tenant_shredded_by_other_means_is_not_called_exported(sqlite_clinic: Clinic) -> None:
    sqlite_clinic.keyring.lifecycle.shred("acme", confirm="acme")
    with pytest.raises(KeyRevoked, match="they are lost"):
        offboard(sqlite_clinic.keyring, "acme", sqlite_clinic.out, confirm="acme")
    done = offboard(sqlite_clinic.keyring, "acme", sqlite_clinic.out, confirm="acme", export=False)
    assert done.certificate.certificate.before.keys.state == "shredded"


def test_nothing_is_exported_before_a_second_person_has_approved(
    sqlite_clinic: Clinic, sqlite_database: Database
) -> None:
    sqlite_clinic.keyring.close()
    clinic = open_clinic(sqlite_database.url, sqlite_clinic.folder, two_people=["shred"], actor="ann")
    with pytest.raises(ApprovalRequired) as caught:
        offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    assert not clinic.out.exists() and state(clinic) == "ok"
    with clinic.keyring.because("the contract has ended", actor="bob"):
        clinic.keyring.approvals.approve(caught.value.request)
    done = offboard(clinic.keyring, "acme", clinic.out, confirm="acme")
    assert done.files and state(clinic) == "shredded"
    assert any(f"request {caught.value.request}" in one.detail for one in done.certificate.certificate.trail)
    clinic.keyring.close()
