"""`cmk certificate`, and `--certificate FILE` of the commands that change a tenant's keys."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Application

KEY = "certificate.pem"


@pytest.fixture
def signing(app: Application, monkeypatch: pytest.MonkeyPatch) -> Application:
    """The application, whose keyring signs certificates."""
    module = app.folder / "clinic_app.py"
    place = f'certificate_key=f"file:{{FOLDER}}/{KEY}", '
    module.write_text(module.read_text().replace("Keyring(engine(), ", f"Keyring(engine(), {place}"))
    assert app.run("certificate", "make-key", KEY).exit_code == 0
    (app.folder / "public.pem").write_text(app.json("certificate", "public-key")["public_key"])
    return app


def verified(app: Application, file: str = "certificate.json", **codes: int) -> dict[str, Any]:
    found = app.json("certificate", "verify", file, "--key", "public.pem")
    assert found["intact"] and found["issuer_known"]
    return found["certificate"]  # type: ignore[no-any-return]


def rows(certificate: dict[str, Any], when: str) -> dict[str, int]:
    return {one["table"]: one["rows"] for one in certificate[when]["tables"]}


def test_a_shredding_with_a_certificate(signing: Application) -> None:
    result = signing.run(
        "--because", "end of contract", "shred", "acme", "--confirm", "acme", "--certificate", "end"
    )
    assert result.exit_code == 0 and "is in end" in result.stderr
    certificate = verified(signing, "end")
    assert certificate["operation"] == "shred" and certificate["reason"] == "end of contract"
    assert rows(certificate, "after") == {"patients": 1, "visits": 1, "letters": 1}
    shown = signing.run("certificate", "verify", "end", "--key", "public.pem").stdout
    assert "shred of acme" in shown and "4 values under destroyed DEKs" in shown
    (key,) = {line.split()[-1] for line in shown.splitlines() if line.startswith("intact, and issued by")}
    assert signing.json("certificate", "public-key")["fingerprint"] == key
    assert signing.run("certificate", "verify", "end", "--fingerprint", key).exit_code == 0


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        (["assign", "acme", "local:other", "--yes"], "assign"),
        (["rewrap", "acme"], "rewrap"),
        (["rotate-dek", "acme"], "rotate-dek"),
        (["drop-retired", "acme"], "drop-retired"),
    ],
)
def test_each_change_of_keys_with_a_certificate(
    signing: Application, command: list[str], operation: str
) -> None:
    assert signing.run(*command, "--certificate", "certificate.json").exit_code == 0
    certificate = verified(signing)
    assert certificate["operation"] == operation and certificate["tenant"] == "acme"
    assert rows(certificate, "after") == rows(certificate, "before") != {}


def test_a_rekey_run_with_a_certificate(signing: Application) -> None:
    assert signing.run("rotate-dek", "acme").exit_code == 0
    run = ["rekey", "run", "--tenant", "acme", "--table", "visits"]
    assert signing.run(*run, "--certificate", "certificate.json").exit_code == 0
    certificate = verified(signing)
    assert certificate["result"] == {
        "visits: rows changed": 1,
        "visits: rows left": 0,
        "visits: damaged": 0,
    }
    assert "2 values under retired DEKs" in signing.run("certificate", "verify", "certificate.json").stdout
    dry = signing.run(*run, "--dry-run", "--certificate", "other.json")
    assert dry.exit_code == 2 and not (signing.folder / "other.json").exists()


def test_the_platforms_keys_are_certified_too(signing: Application) -> None:
    signing.keyring.warm([""])
    assert signing.run("rotate-dek", "", "--certificate", "certificate.json").exit_code == 0
    assert rows(verified(signing), "after") == {"settings": 0}


@pytest.mark.parametrize(
    "command",
    [
        ["assign", "acme", "globex", "local:other", "--yes"],
        ["assign", "--from-kek", "local:acme", "local:other", "--yes"],
        ["rewrap"],
        ["drop-retired"],
        ["rekey", "run"],
    ],
)
def test_a_certificate_is_for_one_tenant(signing: Application, command: list[str]) -> None:
    result = signing.run(*command, "--certificate", "certificate.json")
    assert result.exit_code == 2 and "name the tenant" in result.stderr
    assert (
        not (signing.folder / "certificate.json").exists()
        and signing.status("acme")["kek_uri"] == "local:acme"
    )


def test_nothing_is_done_where_no_certificate_could_be_written(signing: Application) -> None:
    Path("there").write_text("kept")
    for file in ("there", "no/such/folder"):
        result = signing.run("shred", "acme", "--confirm", "acme", "--certificate", file)
        assert result.exit_code == 5 and "name a new file" in result.stderr
    assert Path("there").read_text() == "kept" and signing.status("acme")["state"] == "ok"


def test_without_a_key_nothing_is_done(app: Application) -> None:
    result = app.run("shred", "acme", "--confirm", "acme", "--certificate", "certificate.json")
    assert result.exit_code == 5 and "cmk certificate make-key" in result.stderr
    assert app.status("acme")["state"] == "ok" and not Path("certificate.json").exists()


def test_a_change_that_fails_leaves_no_certificate(signing: Application) -> None:
    result = signing.run("shred", "acme", "--confirm", "globex", "--certificate", "certificate.json")
    assert result.exit_code == 5 and not Path("certificate.json").exists()


def test_verifying_says_what_is_wrong_and_who_is_not_known(signing: Application) -> None:
    assert signing.run("rewrap", "acme", "--certificate", "certificate.json").exit_code == 0
    unproven = signing.run("certificate", "verify", "certificate.json")
    assert unproven.exit_code == 7
    assert "issued by" not in unproven.stdout and "give --key or --fingerprint" in unproven.stderr
    assert signing.json("certificate", "verify", "certificate.json", code=7)["issuer_known"] is False
    other = signing.run("certificate", "verify", "certificate.json", "--fingerprint", "0" * 64)
    assert other.exit_code == 1 and "another key has signed" in other.stdout
    data = Path("certificate.json").read_bytes().replace(b'"acme"', b'"emca"')
    Path("certificate.json").write_bytes(data)
    found = signing.json("certificate", "verify", "certificate.json", "--key", "public.pem", code=1)
    assert found["intact"] is False and "altered" in found["problem"]
    Path("certificate.json").write_text(json.dumps({"certificate": 1}))
    assert signing.run("certificate", "verify", "certificate.json").exit_code == 5


def test_a_key_is_made_once(signing: Application) -> None:
    before = Path(KEY).read_bytes()
    assert signing.run("certificate", "make-key", KEY).exit_code == 5 and Path(KEY).read_bytes() == before
    assert b"PRIVATE" in before and "PRIVATE" not in signing.run("certificate", "public-key").output
