"""The clinic as a program: an earlier version's data, and a key in a token."""

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.support.hsm.softhsm import SoftHsm

ROOT = Path(__file__).parents[3]

HSM_STORY = """
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from examples.clinic import seed
from tests.examples.clinic.browsing import Clinic

seed.PATIENTS = {"hillside": 3}

@contextmanager
def running():
    clinic = Clinic(Path(sys.argv[1]))
    staff = clinic.browser("reception@hillside.example")
    def page():
        answer = staff.get("/patients/1")
        return answer.text if answer.status_code == 200 else answer.status_code
    yield clinic, page, clinic.storage.vaults["hillside"]
    clinic.close()

def kek(clinic):
    return {line.tenant: line.kek_uri for line in clinic.storage.keyring.status()}["hillside"]

with running() as (clinic, page, vault):
    name = "Appointments"
    assert kek(clinic) == "local:hillside-vault/clinic-kek" and name in page()
    clinic.customer("hillside", "disable")
os.environ["CLINIC_HSM"] = "softhsm"
with running() as (clinic, page, vault):
    assert kek(clinic) == "local:hillside-vault/clinic-kek" and page() == 403
    vault.before.change("enable")  # only now can it move
with running() as (clinic, page, vault):
    assert kek(clinic) == "pkcs11:token=hillside;object=clinic-kek" and name in page()
    clinic.customer("hillside", "disable")
    assert page() == 403 and vault.state == "disabled"
    clinic.customer("hillside", "enable")
    assert name in page()
del os.environ["CLINIC_HSM"]
with running() as (clinic, page, vault):
    assert name in page()  # a key that went into a token is looked for there
"""


def test_a_clinic_moves_its_key_into_a_token(tmp_path: Path, softhsm: SoftHsm) -> None:
    command = [sys.executable, "-c", HSM_STORY, str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "CLINIC_HSM"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_folder_of_an_earlier_version_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "clinic.db"
    with create_engine(f"sqlite:///{path}").begin() as connection:
        connection.execute(text("CREATE TABLE patients (id INTEGER PRIMARY KEY)"))
    done = subprocess.run(
        [sys.executable, "-m", "examples.clinic", "--data", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "remove the data folder" in done.stderr
    assert "Traceback" not in done.stderr and path.exists()
