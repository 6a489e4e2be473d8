"""What ``cmk doctor`` says of a key in a vault."""

import time

import pytest
from azure.keyvault.keys import (
    KeyClient,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)

from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers.azure.checks import _recovery as recovery_findings
from sqlalchemy_cmk.providers.azure.commands import Commands
from sqlalchemy_cmk.providers.azure.identifiers import parse_identifier
from sqlalchemy_cmk.providers.azure.keys import NEEDED, VaultKey
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.places import AzurePlace, vault_place


def test_the_doctor_sees_what_microsoft_asks_for(emulator: KeyVaultEmulator) -> None:
    weak, strong = vault_place(emulator), vault_place(emulator, purge_protection=True)
    problems = [one for one in weak.provider.health_checks(weak.kek_uri) if one.level is Level.PROBLEM]
    assert any("purge protection" in one.what and one.remedy for one in problems)
    assert all(one.level is not Level.PROBLEM for one in strong.provider.health_checks(strong.kek_uri))
    strong.vault.disable_key("clinic-kek")
    assert [one.level for one in strong.provider.health_checks(strong.kek_uri)] == [Level.PROBLEM]
    weak.vault.grant(emulator.app, ["list", "getRotationPolicy"])
    warned = [one.what for one in weak.provider.health_checks(weak.kek_uri) if one.level is Level.WARNING]
    # Microsoft's role for customer-managed keys lets the application list them.
    assert not any("list" in one for one in warned) and any("rotation policy" in one for one in warned)
    weak.close()
    strong.close()


def warnings(place: AzurePlace, kek_uri: str | None = None) -> list[tuple[str, str]]:
    found = place.provider.health_checks(kek_uri or place.kek_uri)
    return [(one.what, one.remedy) for one in found if one.level is Level.WARNING]


def test_the_doctor_warns_of_what_microsoft_recommends_against(emulator: KeyVaultEmulator) -> None:
    place = vault_place(emulator, purge_protection=True)
    needed = {"key_ops": ["wrapKey", "unwrapKey"]}
    place.vault.update_key("clinic-kek", **needed)
    assert warnings(place) == []
    place.vault.update_key("clinic-kek", expires=time.time() + 9.5 * 86400)
    assert warnings(place) == [
        ("this version expires in 9 days", "rotate it, or extend its expiry, and run cmk rewrap")
    ]
    place.vault.update_key("clinic-kek", expires=time.time() + 300 * 86400)
    place.vault.update_key("clinic-kek", key_ops=["wrapKey", "unwrapKey", "decrypt"])
    ((what, remedy),) = warnings(place)
    assert "decrypt" in what and "az keyvault key set-attributes --vault-name" in remedy
    place.vault.update_key("clinic-kek", **needed)
    pinned = place.vault.key_uri("clinic-kek", place.vault.versions("clinic-kek")[0].version)
    ((what, remedy),) = warnings(place, pinned)
    assert "names a version" in what and "without a version" in remedy
    place.close()


def test_the_doctor_reads_a_rotation_policy_where_it_may(emulator: KeyVaultEmulator) -> None:
    place = vault_place(emulator, purge_protection=True)
    place.vault.grant(emulator.app, ["getRotationPolicy"])
    assert any("no rotation policy" in what for what, _ in warnings(place))
    admin = KeyClient(place.vault.url, emulator.credential(emulator.admin), **emulator.client_options)
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
    admin.update_key_rotation_policy("clinic-kek", KeyRotationPolicy(lifetime_actions=[action]))
    assert any(
        one.what == "the key rotates by a policy" for one in place.provider.health_checks(place.kek_uri)
    )
    admin.close()
    place.close()


def commands_for(uri: str, found: VaultKey | None = None) -> Commands:
    identifier = parse_identifier(uri)
    assert identifier is not None
    return Commands(identifier, found=found)


def test_commands_are_those_of_the_place_in_which_the_key_is() -> None:
    vault = commands_for("https://acme.vault.azure.net/keys/k")
    assert vault.protect() == "az keyvault update --name acme --enable-purge-protection true"
    assert vault.rotate_key() == "az keyvault key rotate --vault-name acme --name k"
    assert "Key Vault Crypto Service Encryption User" in vault.assign_role()
    aes = VaultKey("1", "oct-HSM", 0, NEEDED, True, None, None, "", {})
    for hsm in (
        commands_for("https://acme.managedhsm.azure.net/keys/k"),
        commands_for("https://acme.example/keys/k", aes),
    ):
        assert hsm.protect() == "az keyvault update-hsm --hsm-name acme --enable-purge-protection true"
        assert hsm.rotate_key() == "az keyvault key rotate --hsm-name acme --name k"
        assert hsm.assign_role().startswith("az keyvault role assignment create --hsm-name acme")
        assert hsm.assign_role().endswith("--scope /keys/k")


def test_the_doctor_names_the_role_that_is_missing_and_the_hsms_platform(emulator: KeyVaultEmulator) -> None:
    place = vault_place(emulator, "RSA-HSM", purge_protection=True, rbac=True)
    found = [one.what for one in place.provider.health_checks(place.kek_uri)]
    assert "RSA-HSM of 2048 bits, enabled, in an HSM of FIPS 140-3 Level 3" in found
    place.vault.revoke(emulator.app)
    (refused,) = place.provider.health_checks(place.kek_uri)
    assert refused.level is Level.PROBLEM and refused.remedy.startswith("az role assignment create")
    place.close()


@pytest.mark.parametrize(
    ("recovery", "level", "what"),
    [
        ("Purgeable", Level.PROBLEM, "soft delete is off"),
        ("Recoverable+Purgeable", Level.PROBLEM, "purge protection is off"),
        ("CustomizedRecoverable+Purgeable", Level.PROBLEM, "purge protection is off"),
        ("Recoverable", Level.OK, "are on"),
        ("CustomizedRecoverable+ProtectedSubscription", Level.OK, "are on"),
        ("", Level.WARNING, "does not say"),
    ],
)
def test_the_doctor_knows_every_recovery_level(recovery: str, level: Level, what: str) -> None:
    key = VaultKey("1", "RSA", 2048, NEEDED, True, None, None, recovery, {})
    uri = "https://acme.vault.azure.net/keys/k"
    (found,) = recovery_findings(key, uri, commands_for(uri, key))
    assert found.level is level and what in found.what and (found.remedy or level is not Level.PROBLEM)
