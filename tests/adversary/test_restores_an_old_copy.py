"""One who puts an old copy of the database, or of a part of it, in the place of the new one."""

from collections.abc import Callable, Sequence

import pytest

from sqlalchemy_cmk.keys import Heads
from tests.adversary.town import Tenant, Town

Tables = Callable[[Town], Sequence[str]]

KEY_TABLES = ("cmk_tenants", "cmk_deks", "cmk_wrappings")
EVERYTHING_OR_KEYS: list[Tables] = [lambda town: town.tables(), lambda town: KEY_TABLES]


@pytest.fixture
def town(own_town: Town) -> Town:
    return own_town


@pytest.fixture
def initech(town: Town) -> Tenant:
    """A clinic that will bring a key of its own."""
    return town.tenant("initech", own_key=False)


def test_is_named_who_puts_back_one_of_the_key_tables(town: Town, initech: Tenant) -> None:
    number = initech.add(name="Ann")
    for table in ("cmk_deks", "cmk_wrappings"):
        old = town.copy_of(*KEY_TABLES)
        town.operator.lifecycle.rotate_dek(initech.name)
        new = town.copy_of(*KEY_TABLES)
        town.put_back(
            {**new, table: old[table]}
            if table == "cmk_wrappings"
            else {**old, "cmk_tenants": new["cmk_tenants"]}
        )
        town.app.restart()
        assert initech.read(number).error == "TamperedError"
        town.put_back(new)
        town.app.restart()
        assert initech.says(number) == "Ann"


def test_is_named_by_each_process_that_has_seen_newer_keys(town: Town, initech: Tenant) -> None:
    old, number = town.copy(), initech.add(name="Ann")
    old = town.copy()
    town.operator.assign(initech.name, initech.kek_uri)
    town.app.forget()
    assert initech.says(number) == "Ann"
    town.put_back(old)
    town.app.forget()
    answer = initech.read(number)
    assert answer.error == "TamperedError" and "went back from epoch" in answer.message


@pytest.mark.parametrize("tables", EVERYTHING_OR_KEYS, ids=["everything", "the key tables"])
def test_opens_what_the_platforms_key_opened_once_in_a_process_that_has_just_started(
    town: Town, initech: Tenant, tables: Tables
) -> None:
    """From before the customer's own key: a process that has seen nothing newer cannot tell."""
    number = initech.add(name="Ann")
    old = town.copy_of(*tables(town))
    town.operator.assign(initech.name, initech.kek_uri)
    initech.vault.disable_key("kek")
    town.app.restart()
    assert initech.read(number).error == "KeyRevoked"
    town.put_back(old)
    town.app.restart()
    assert initech.says(number) == "Ann"


def test_is_found_by_the_trail_who_puts_back_the_key_tables_alone(town: Town, initech: Tenant) -> None:
    initech.add(name="Ann")
    old = town.copy_of(*KEY_TABLES)
    town.operator.assign(initech.name, initech.kek_uri)
    town.put_back(old)
    auditor = town.keyring()  # of a process that has seen nothing newer
    assert initech.name in "\n".join(auditor.audit.verify().problems)
    auditor.close()


def test_is_found_by_heads_that_were_kept_outside_and_by_nothing_else(town: Town, initech: Tenant) -> None:
    """Who puts everything back, the trail too."""
    initech.add(name="Ann")
    old = town.copy()
    town.operator.assign(initech.name, initech.kek_uri)
    heads = town.operator.audit.heads().to_json()
    town.put_back(old)
    auditor = town.keyring()  # of a process that has seen nothing newer
    assert initech.name not in "\n".join(auditor.audit.verify().problems)
    assert initech.name in "\n".join(auditor.audit.verify(Heads.from_json(heads)).problems)
    auditor.close()


def test_opens_nothing_whose_kek_refuses(town: Town) -> None:
    """A copy from before the revocation, in a process that has just started."""
    acme = town.tenant("acme")
    number = acme.add(name="Ann")
    old = town.copy()
    acme.vault.disable_key("kek")
    town.app.restart()
    assert acme.read(number).error == "KeyRevoked"
    town.put_back(old)
    town.app.restart()
    assert acme.read(number).error == "KeyRevoked"


def test_opens_a_shredded_tenant_as_long_as_the_kek_exists(town: Town) -> None:
    acme = town.tenant("acme")
    number = acme.add(name="Ann")
    old = town.copy()
    town.operator.lifecycle.shred(acme.name, confirm=acme.name)
    town.app.restart()
    assert acme.read(number).error == "KeyRevoked"
    town.put_back(old)
    town.app.restart()
    assert acme.says(number) == "Ann"


def test_opens_no_shredded_tenant_whose_kek_was_destroyed(town: Town) -> None:
    acme = town.tenant("acme")
    number = acme.add(name="Ann")
    old = town.copy()
    town.operator.lifecycle.shred(acme.name, confirm=acme.name)
    acme.vault.delete_key("kek")
    acme.vault.purge_key("kek")
    town.put_back(old)
    town.app.restart()
    assert acme.read(number).error == "KeyRevoked"


def test_brings_older_rows_back_unnoticed(town: Town, initech: Tenant) -> None:
    number = initech.add(name="Ann", history="asthma")
    old = town.copy_of("patients", "visits")
    assert not town.app.post(initech.name, number, history="none").error
    town.put_back(old)
    assert initech.says(number, "history") == "asthma"


def test_is_found_who_puts_back_the_audit_trail_alone(town: Town, initech: Tenant) -> None:
    initech.add(name="Ann")
    old = town.copy_of("cmk_audit", "cmk_audit_head")
    heads = town.operator.audit.heads()
    town.operator.assign(initech.name, initech.kek_uri)
    newer = town.operator.audit.heads()
    assert newer != heads
    town.put_back(old)
    auditor = town.keyring()
    assert auditor.audit.verify(newer).problems != ()
    auditor.close()
