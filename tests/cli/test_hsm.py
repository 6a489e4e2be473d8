"""`cmk status` and `cmk doctor` over the example application, with a clinic's KEK in a token."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT
from tests.support.hsm.softhsm import SoftHsm

MAKE = """
from examples.clinic import create_app, seed
seed.PATIENTS = {"hillside": 1}
create_app().extensions["clinic"].close()
"""
KEK = "pkcs11:token=hillside;object=clinic-kek"


class Application:
    """The clinic's command line, each command a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "CLINIC_DATA": str(folder), "CLINIC_HSM": "softhsm"}
        self.folder = folder
        self.python("-c", MAKE)

    def python(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, cwd=ROOT
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def cmk(self, *arguments: str, code: int = 0) -> Any:
        keyring = ("--keyring", "examples.clinic:keyring")
        return json.loads(self.python("-m", "sqlalchemy_cmk.cli", *keyring, *arguments, "--json", code=code))

    def findings(self, code: int = 0) -> list[tuple[str, str]]:
        found = self.cmk("doctor", code=code)["findings"]
        return [(one["level"], one["what"]) for one in found if one["subject"] == KEK]


@pytest.fixture
def app(tmp_path: Path, softhsm: SoftHsm) -> Application:
    return Application(tmp_path)


def test_a_kek_in_a_token_is_shown_and_examined(app: Application) -> None:
    (line,) = [one for one in app.cmk("status", "--newest")["tenants"] if one["tenant"] == "hillside"]
    assert line["kek_uri"] == KEK and line["state"] == "ok"
    ((version,),) = (kek["versions"] for kek in line["keks"])
    shown = app.python("-m", "sqlalchemy_cmk.cli", "--keyring", "examples.clinic:keyring", "status")
    # All ids that are made here begin alike.
    assert version[-8:] in shown and version[:8] not in shown
    found = app.findings()
    assert {level for level, _ in found} == {"ok"}
    for words in ("wraps and unwraps", "logged in", "AES of 256 bits, wraps with AES-KW", "not extractable"):
        assert any(words in what for _, what in found), found
    app.python("-m", "examples.clinic.token", str(app.folder), "off")
    assert ("problem", True) in {(level, "CKA_UNWRAP" in what) for level, what in app.findings(code=1)}


def test_a_wrong_pin_is_named_and_not_shown(app: Application) -> None:
    pin = app.folder / "softhsm" / "pin"
    pin.write_text("wrong-pin-4711")
    found = app.findings(code=1)
    assert {level for level, _ in found} == {"problem"}
    assert all("PIN" in what and "4711" not in what for _, what in found), found
    pin.chmod(0o644)
    ((level, what),) = app.findings(code=1)
    assert level == "problem" and "chmod 600" in what, what


MISTYPE = """
import os, sys, pkcs11
os.environ["SOFTHSM2_CONF"] = sys.argv[1]
from examples.clinic.token import LABEL, MODULE
try:
    pkcs11.lib(MODULE).get_token(token_label=LABEL).open(user_pin="mistyped")
except pkcs11.PinIncorrect:
    print("counted")
"""


def test_a_wrong_pin_that_somebody_else_tried_is_known_after_doctors_own_login(app: Application) -> None:
    config = str(app.folder / "softhsm" / "softhsm2.conf")
    assert app.python("-c", MISTYPE, config).strip() == "counted"
    warnings = [what for level, what in app.findings() if level == "warning"]
    assert warnings == ["a wrong PIN was tried since the last good login"]
    # That login was a good one.
    assert {level for level, _ in app.findings()} == {"ok"}
