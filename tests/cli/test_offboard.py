"""`cmk offboard` and `cmk open-export`."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.cli.conftest import SECRET, Application
from tests.cli.test_certificate import signing, verified

__all__ = ["signing"]


def test_a_tenant_leaves_in_the_clear(signing: Application) -> None:
    result = signing.run("offboard", "acme", "--to", "out", "--clear", typed="acme\n")
    assert result.exit_code == 0 and "acme is shredded, 4 rows of 4 tables exported to out" in result.stdout
    assert "can ever be opened again" in result.stderr
    (patient,) = [json.loads(one) for one in Path("out/patients.jsonl").read_text().splitlines()][1:]
    assert patient["ssn"] == SECRET and signing.status("acme")["state"] == "shredded"
    certificate = verified(signing, "out/certificate.json")
    assert certificate["operation"] == "offboard" and len(certificate["files"]) == 4
    shown = signing.run("certificate", "verify", "out/certificate.json", "--key", "public.pem").stdout
    assert "exported    patients.jsonl: 1 row, SHA-256" in shown


def test_a_tenant_leaves_with_rows_for_its_own_key(signing: Application) -> None:
    key = generate_private_key(65537, 2048)
    Path("rsa.pem").touch(0o600)
    Path("rsa.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path("rsa.pub").write_bytes(public)
    done = signing.json("offboard", "acme", "--to", "out", "--for-key", "rsa.pub", "--confirm", "acme")
    assert done["state"] == "shredded" and {one["table"] for one in done["files"]} >= {"patients", "letters"}
    opened = signing.process(
        "open-export", "out/patients.jsonl.sealed", "opened", "--key", "rsa.pem", CMK_KEYRING="none:none"
    )
    assert opened.returncode == 0, opened.stderr
    assert SECRET in Path("opened").read_text() and os.stat("opened").st_mode & 0o77 == 0
    assert (
        signing.run("open-export", "out/patients.jsonl.sealed", "opened", "--key", "rsa.pem").exit_code == 5
    )


@pytest.mark.parametrize("options", [[], ["--clear", "--without-export"]])
def test_how_the_rows_are_exported_has_to_be_said(signing: Application, options: list[str]) -> None:
    result = signing.run("offboard", "acme", "--to", "out", "--confirm", "acme", *options)
    assert result.exit_code == 2 and "--for-key FILE, --clear or --without-export" in result.stderr
    assert not Path("out").exists()


def test_another_name_or_a_folder_that_is_there_changes_nothing(signing: Application) -> None:
    assert signing.run("offboard", "acme", "--to", "out", "--clear", typed="globex\n").exit_code == 5
    assert not Path("out").exists()
    Path("out").mkdir()
    Path("out/file").touch()
    result = signing.run("offboard", "acme", "--to", "out", "--clear", "--confirm", "acme")
    assert result.exit_code == 5 and "name a new folder" in result.stderr
    assert signing.status("acme")["state"] == "ok"


def test_a_revoked_tenant_is_told_how_to_leave_without_its_rows(signing: Application) -> None:
    signing.provider.disable("local:acme")
    command = ["offboard", "acme", "--to", "out", "--confirm", "acme"]
    result = signing.run(*command, "--clear")
    assert result.exit_code == 3 and "--without-export" in result.stderr
    assert signing.run(*command, "--without-export").exit_code == 0
    assert verified(signing, "out/certificate.json")["result"]["export"] == "none"
