"""One who reads the database, a replica or a backup of it: what is there to be seen, and what is not."""

import pytest

from sqlalchemy_cmk import KeyRevoked
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from tests.adversary.secrets import dump, secrets_of, unwrapped
from tests.adversary.town import KEK, Tenant, Town
from tests.faults.watching import found

VALUES = {
    "ssn": "078-05-1120",
    "name": "Ann of Zürich 你好",
    "nickname": "the marathon runner",
    "history": "pneumonia in the spring of 2019",
    "legacy": "an adopted value",
}


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


def test_finds_no_value_no_dek_and_no_record_key_in_any_table(town: Town, acme: Tenant) -> None:
    number = acme.add(**VALUES)
    assert {column: acme.says(number, column) for column in VALUES} == VALUES
    town.operator.lifecycle.rotate_dek(acme.name)
    acme.add(**VALUES)
    everything = dump(town)
    assert acme.name in everything and "patients" in everything
    assert found({**VALUES, **secrets_of(town, acme)}, everything) == []


@pytest.mark.parametrize("town", ["sqlite"], indirect=True)
def test_finds_no_value_in_the_files_of_sqlite(town: Town, acme: Tenant) -> None:
    acme.add(**VALUES)
    number = acme.add(**VALUES)
    town.app.post(acme.name, number, name="another")
    raw = b"".join(one.read_bytes() for one in town.database_files()).decode("latin-1")
    latin = {name: value.encode() for name, value in VALUES.items()}
    secrets = {**latin, **secrets_of(town, acme)}
    assert acme.name in raw
    assert [
        name
        for name, one in secrets.items()
        if (one.encode() if isinstance(one, str) else one).decode("latin-1") in raw
    ] == []


def test_opens_nothing_without_the_kek(town: Town, acme: Tenant) -> None:
    """The wrapped DEKs and the vault's address are there; the right to ask the vault is not."""
    acme.add(**VALUES)
    thief = town.emulator.principal("thief")
    provider = AzureKeyVaultProvider(
        town.emulator.credential(thief),
        trusted_hosts=town.setting.trusted_hosts,
        connection_verify=town.setting.ca_file,
    )
    (wrapping, *_) = town.wrappings(acme)
    with pytest.raises(KeyRevoked, match="ForbiddenByPolicy"):
        unwrapped(provider, wrapping)
    provider.close()


def test_opens_nothing_with_another_tenants_kek(town: Town, acme: Tenant) -> None:
    acme.add(**VALUES)
    globex = town.tenant("globex")
    globex.vault.grant(thief := town.emulator.principal("globex itself"))
    provider = AzureKeyVaultProvider(
        town.emulator.credential(thief),
        trusted_hosts=town.setting.trusted_hosts,
        connection_verify=town.setting.ca_file,
    )
    (wrapping, *_) = town.wrappings(acme)
    version = globex.vault.versions(KEK)[0].version
    with pytest.raises(Exception, match=r"BadParameter|does not unwrap|damaged|could not"):
        unwrapped(provider, {**wrapping, "kek_uri": globex.kek_uri, "kek_version": version})
    provider.close()


def test_sees_whose_rows_there_are_and_which_kek_serves_whom(town: Town, acme: Tenant) -> None:
    acme.add(name="one")
    acme.add(name="two")
    assert len(town.sql("SELECT id FROM patients WHERE clinic = :name", name=acme.name)) == 2
    (row,) = town.sql("SELECT kek_uri, state FROM cmk_tenants WHERE tenant = :name", name=acme.name)
    assert row == {"kek_uri": acme.kek_uri, "state": "ok"}


def test_sees_which_process_opened_whose_keys_and_when(town: Town, acme: Tenant) -> None:
    acme.add(name="one")
    query = "SELECT actor, at FROM cmk_audit WHERE tenant = :name AND event = 'wrap'"
    rows = town.sql(query, name=acme.name)
    assert {row["actor"] for row in rows} == {"the application"}
    assert all(row["at"].startswith("20") for row in rows)


def test_sees_how_long_each_value_is(town: Town, acme: Tenant) -> None:
    number = acme.add(**VALUES)
    lengths = {column: len(town.stored(number, column)) - len(one.encode()) for column, one in VALUES.items()}
    assert lengths == {"ssn": 25, "name": 37, "nickname": 37, "history": 37, "legacy": 37}


def test_sees_where_a_value_is_missing(town: Town, acme: Tenant) -> None:
    number = acme.add(name="one")
    assert town.stored(number, "history") is None


def test_sees_equal_values_of_a_deterministic_column_of_one_tenant_and_of_no_other(
    town: Town, acme: Tenant
) -> None:
    globex = town.tenant("globex")
    one, two, third = acme.add(**VALUES), acme.add(**VALUES), globex.add(**VALUES)
    assert town.stored(one, "ssn") == town.stored(two, "ssn") != town.stored(third, "ssn")
    assert (
        len({town.stored(each, column) for each in (one, two, third) for column in ("name", "history")}) == 6
    )


def test_opens_an_old_backup_that_was_wrapped_by_the_platforms_key(town: Town) -> None:
    """With the platform's KEK at hand: assign takes no old wrapping out of copies."""
    clinic = town.tenant("initech", own_key=False)
    clinic.add(**VALUES)
    (old,) = town.wrappings(clinic, "randomized")
    town.operator.assign(clinic.name, clinic.kek_uri)
    (new,) = town.wrappings(clinic, "randomized")
    provider = town.operator.provider_of(clinic.kek_uri)
    assert old["kek_uri"] == town.setting.platform_key != new["kek_uri"]
    assert unwrapped(provider, old) == unwrapped(provider, new)


def test_opens_nothing_new_from_an_old_backup_where_the_customer_got_a_fresh_dek(town: Town) -> None:
    clinic = town.tenant("initech", own_key=False)
    clinic.add(**VALUES)
    (old,) = town.wrappings(clinic, "randomized")
    town.operator.assign(clinic.name, clinic.kek_uri, fresh_dek=True)
    town.app.forget()
    number = clinic.add(name="new")
    assert clinic.says(number) == "new"
    assert bytes(town.stored(number))[1:9] != bytes(old["dek_id"])
    new = {unwrapped(town.operator.provider_of(clinic.kek_uri), one) for one in town.wrappings(clinic)}
    assert unwrapped(town.operator.provider_of(clinic.kek_uri), old) in new
