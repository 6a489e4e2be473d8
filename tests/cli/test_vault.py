"""The command over a tenant whose KEK is in a vault: what its owner rotates, what the doctor finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.cli.conftest import Application

MODULE = """
import json
from azure.identity import ClientSecretCredential
from clinic_app import *
from sqlalchemy_cmk.providers import AzureKeyVaultProvider

LOGIN = json.loads({login!r})


def keyring():
    vaults = AzureKeyVaultProvider(
        lambda: ClientSecretCredential(**LOGIN), trusted_hosts=[{host!r}], retries=0,
        connection_verify=LOGIN["connection_verify"],
    )
    local = LocalKeyProvider(FOLDER / "keys.json")
    made = Keyring(engine(), platform_key="local:pmk", providers=[local, vaults])
    made.protect(Base)
    return made
"""


class VaultApplication:
    """The application with a vault."""

    def __init__(self, app: Application, vault: Vault, emulator: KeyVaultEmulator) -> None:
        self.app, self.vault = app, vault
        login = json.dumps(
            {
                "tenant_id": emulator.tenant_id,
                "client_id": emulator.app.client_id,
                "client_secret": emulator.app.secret,
                "authority": emulator.authority,
                "disable_instance_discovery": True,
                "connection_verify": str(emulator.ca_file),
            }
        )
        Path(app.folder, "vault_app.py").write_text(
            MODULE.format(login=login, host=vault.url.removeprefix("https://"))
        )
        vault.create_key("kek", key_ops=["wrapKey", "unwrapKey"], tags={"cmk-tenant": "acme"})

    def json(self, *arguments: str, code: int = 0) -> Any:
        result = self.app.run(*arguments, "--json", place="vault_app:keyring")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def clinic(app: Application, key_vault_emulator: KeyVaultEmulator) -> Iterator[VaultApplication]:
    vault = key_vault_emulator.vault(f"cli-{app.folder.name}", purge_protection=True)
    made = VaultApplication(app, vault, key_vault_emulator)
    made.json("assign", "acme", vault.key_uri("kek"))
    yield made
    vault.faults.clear()


def line(clinic: VaultApplication) -> dict[str, Any]:
    return next(one for one in clinic.json("status", "--newest")["tenants"] if one["tenant"] == "acme")


def test_status_shows_the_version_in_use_and_the_newest_until_a_rewrap(clinic: VaultApplication) -> None:
    first, second = clinic.vault.versions("kek")[0].version, clinic.vault.rotate_key("kek").version
    assert first in json.dumps(line(clinic)) and second in json.dumps(line(clinic))
    clinic.json("rewrap")
    assert first not in json.dumps(line(clinic)) and second in json.dumps(line(clinic))
    clinic.vault.disable_key("kek", first)
    assert clinic.json("doctor")["problems"] == 0


def test_the_doctor_looks_into_the_vault(clinic: VaultApplication) -> None:
    found = [
        one for one in clinic.json("doctor")["findings"] if one["subject"] == clinic.vault.key_uri("kek")
    ]
    told = " ".join(one["what"] for one in found)
    for expected in ("wraps and unwraps", "purge protection are on", "RSA of 2048 bits", "cannot read"):
        assert expected in told
    assert {one["level"] for one in found} == {"ok"}


@pytest.mark.parametrize("how", ["disable_key", "delete_key"])
def test_the_doctor_names_a_key_that_is_taken_away(clinic: VaultApplication, how: str) -> None:
    getattr(clinic.vault, how)("kek")
    found = clinic.json("doctor", code=1)["findings"]
    problems = [one for one in found if one["level"] == "problem"]
    assert problems and all(one["remedy"] for one in problems)
    assert clinic.vault.key_uri("kek") in problems[0]["what"]


def test_a_vault_that_is_away_has_its_own_exit_code(clinic: VaultApplication) -> None:
    clinic.vault.faults.down()
    assert clinic.json("rotate-dek", "acme", code=4)["error"] == "KeyUnavailable"
    clinic.json("doctor", code=1)


def test_a_tenant_is_shredded_though_its_vault_refuses(clinic: VaultApplication) -> None:
    clinic.vault.disable_key("kek")
    clinic.json("shred", "acme", "--confirm", "acme")
    assert line(clinic)["state"] == "shredded"


def test_onboard_prints_what_to_do_and_looks_whether_it_was_done(clinic: VaultApplication) -> None:
    kek_uri = clinic.vault.key_uri("kek")
    printed = clinic.app.run("onboard", "acme", "--kek", kek_uri, "--format", "az", place="vault_app:keyring")
    assert printed.exit_code == 0 and "--tags cmk-tenant=acme" in printed.stdout
    told = clinic.json("onboard", "acme", "--kek", kek_uri, "--format", "bicep", "--application", "77aa")
    assert told["format"] == "bicep" and "az ad sp show --id 77aa" in told["instructions"]
    done = clinic.json("onboard", "acme", "--kek", kek_uri, "--check")
    assert done["ok"] and {one["state"] for one in done["steps"]} == {"ok"}
    other = clinic.json("onboard", "globex", "--kek", kek_uri, "--check", code=1)
    (wrong,) = (one for one in other["steps"] if one["problem"])
    assert not other["ok"] and wrong["problem"] == "not_owned" and "cmk-tenant=globex" in wrong["do"]
    lines = clinic.app.run("onboard", "globex", "--kek", kek_uri, "--check", place="vault_app:keyring")
    assert lines.exit_code == 1 and "not reached" in lines.stdout and wrong["do"] in lines.stdout
    assert clinic.json("assign", "globex", kek_uri, "--yes", code=5)["error"] == "KekNotOwned"
