"""The example application, page by page."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from examples.clinic import create_app
from examples.clinic.keys import Storage
from examples.clinic.models import Base
from tests.support.hsm.softhsm import SoftHsm

ROOT = Path(__file__).parents[2]

FORM = {
    "name": "Ada Lovelace",
    "ssn": "078-05-1120",
    "email": "ada@example.org",
    "born": "1815-12-10",
    "history": "a\nb",
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    monkeypatch.delenv("CLINIC_HSM", raising=False)
    app = create_app(tmp_path)
    yield app.test_client()
    storage(app).close()


def storage(app: object) -> Storage:
    return app.extensions["clinic"]  # type: ignore[attr-defined,no-any-return]


def post(client: FlaskClient, path: str, **fields: str) -> tuple[int, str]:
    page = client.get("/riverside/patients/new").get_data(as_text=True)
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    answer = client.post(path, data={**fields, "token": found[1]}, follow_redirects=True)
    return answer.status_code, answer.get_data(as_text=True)


def test_a_patient_is_added_listed_and_edited(client: FlaskClient) -> None:
    status, page = post(client, "/riverside/patients/new", **FORM)
    assert status == 200 and "Ada Lovelace" in page
    number = re.findall(r"/riverside/patients/(\d+)", page)[-1]
    status, page = post(client, f"/riverside/patients/{number}", **{**FORM, "name": "Ada King"})
    assert status == 200 and "Ada King" in page and "Ada Lovelace" not in page
    assert client.get(f"/hillside/patients/{number}").status_code == 404


def test_a_clinics_list_shows_its_own_patients_only(client: FlaskClient) -> None:
    post(client, "/riverside/patients/new", **FORM)
    assert "Ada Lovelace" not in client.get("/hillside/patients").get_data(as_text=True)


def test_a_form_with_a_fault_is_shown_again(client: FlaskClient) -> None:
    status, page = post(client, "/riverside/patients/new", **{**FORM, "ssn": "far too long for a number"})
    assert status == 422 and "longer than the 11 allowed" in page
    assert post(client, "/riverside/patients/new", **{**FORM, "born": "yesterday"})[0] == 422
    post(client, "/riverside/patients/new", **FORM)
    assert "e-mail address" in post(client, "/riverside/patients/new", **FORM)[1]
    assert client.post("/riverside/patients/new", data=FORM).status_code == 400


def test_the_database_page_shows_stored_bytes_and_no_plaintext_among_them(client: FlaskClient) -> None:
    post(client, "/riverside/patients/new", **FORM)
    page = client.get("/database").get_data(as_text=True)
    assert "Ada Lovelace" in page and len(re.findall(r"<code", page)) > 100
    with storage(client.application).engine.connect() as connection:
        raw = repr(connection.execute(text("SELECT * FROM patients")).all())
    assert "Lovelace" not in raw and "078-05" not in raw


def test_a_clinic_that_switches_its_key_off_is_sealed_and_the_other_goes_on(client: FlaskClient) -> None:
    post(client, "/keys/hillside/off")
    page = client.get("/hillside/patients").get_data(as_text=True)
    assert page.count("is revoked") >= 12
    assert "is revoked" not in client.get("/riverside/patients").get_data(as_text=True)
    assert client.get("/database").status_code == 200
    status, page = post(client, "/hillside/patients/new", **FORM)
    assert status == 422 and "switched its key off" in page
    post(client, "/keys/hillside/on")
    assert "is revoked" not in client.get("/hillside/patients").get_data(as_text=True)


HSM_STORY = """
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from examples.clinic.app import create_app

@contextmanager
def running():
    app = create_app(Path(sys.argv[1]))
    storage = app.extensions["clinic"]
    yield storage, lambda: app.test_client().get("/hillside/patients").get_data(as_text=True)
    storage.close()

with running() as (storage, page):
    before = page()
    assert storage.own_keys["hillside"] == "local:hillside" and "is revoked" not in before
    storage.switch("hillside", on=False)
os.environ["CLINIC_HSM"] = "softhsm"
with running() as (storage, page):
    assert storage.own_keys["hillside"] == "local:hillside" and page().count("is revoked") >= 12
    storage.switch("hillside", on=True)  # only now can it move
    assert page() == before
with running() as (storage, page):
    found = {line.tenant: line.kek_uri for line in storage.keyring.status()}
    assert found["hillside"] == "pkcs11:token=hillside;object=clinic-kek", found
    assert page() == before
    storage.switch("hillside", on=False)
    assert page().count("is revoked") >= 12
    storage.switch("hillside", on=True)
    assert page() == before
del os.environ["CLINIC_HSM"]
with running() as (storage, page):
    assert page() == before  # a key that went into a token is looked for there
"""


def test_a_clinic_moves_its_key_into_a_token(tmp_path: Path, softhsm: SoftHsm) -> None:
    command = [sys.executable, "-c", HSM_STORY, str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "CLINIC_HSM"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_keys_page_shows_who_holds_each_key_and_whether_it_serves(client: FlaskClient) -> None:
    states = r'class="state (\w+)"'
    page = client.get("/keys").get_data(as_text=True)
    assert re.findall(states, page) == ["ok", "ok"]
    assert page.count("Switch off") == 1 and "Switch on" not in page
    _, page = post(client, "/keys/hillside/off")
    assert re.findall(states, page) == ["revoked", "ok"]
    assert page.count("Switch on") == 1 and "Switch off" not in page
    _, page = post(client, "/keys/hillside/on")
    assert re.findall(states, page) == ["ok", "ok"]


def test_a_folder_from_before_the_migrations_is_refused_and_kept(tmp_path: Path) -> None:
    earlier = Storage(tmp_path)
    Base.metadata.create_all(earlier.engine)
    earlier.close()
    done = subprocess.run(
        [sys.executable, "-m", "examples.clinic", "--data", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "remove the data folder" in done.stderr
    assert "Traceback" not in done.stderr and (tmp_path / "clinic.db").exists()
