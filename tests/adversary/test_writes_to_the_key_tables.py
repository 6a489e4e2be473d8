"""One who writes to the database does so to the key tables; the application has a record key and a policy.

`test_writes_without_locks.py` has what is lost without them.
"""

import socket
from collections.abc import Callable

import pytest

from sqlalchemy_cmk import KekNotAllowed, KekPolicy, TamperedError
from tests.adversary.forgeries import flipped, planted_dek
from tests.adversary.town import Tenant, Town, host


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


@pytest.fixture
def globex(town: Town) -> Tenant:
    return town.tenant("globex")


def is_shut(town: Town, tenant: Tenant, number: int, *said: str) -> None:
    """A process that has nothing open names the tampering, writes nothing, and serves other tenants."""
    town.app.forget()
    answer = tenant.read(number)
    assert answer.error == "TamperedError", answer
    assert all(one in answer.message for one in (tenant.name, *said)), answer.message
    rows = len(town.sql("SELECT id FROM patients WHERE clinic = :name", name=tenant.name))
    assert town.app.post(tenant.name, name="more").error == "TamperedError"
    assert len(town.sql("SELECT id FROM patients WHERE clinic = :name", name=tenant.name)) == rows
    other = town.tenant("bystander")
    assert other.says(other.add(name="as ever")) == "as ever"


def test_is_named_who_changes_any_cell(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    (dek,) = (row["id"] for row in town.deks(acme))
    (wrapping,) = town.wrappings(acme, "randomized")
    changes = [
        ("cmk_tenants", "tenant = :key", acme.name, {"kek_uri": "local:evil"}),
        ("cmk_tenants", "tenant = :key", acme.name, {"outage_grace": 1e9}),
        ("cmk_tenants", "tenant = :key", acme.name, {"epoch": 1000}),
        ("cmk_tenants", "tenant = :key", acme.name, {"manifest_mac": bytes(32)}),
        ("cmk_tenants", "tenant = :key", acme.name, {"manifest": None, "manifest_mac": None}),
        ("cmk_deks", "id = :key", dek, {"state": "retired", "active_slot": None}),
        ("cmk_deks", "id = :key", dek, {"check_value": bytes(32)}),
        ("cmk_wrappings", "dek_id = :key", dek, {"kek_version": "0" * 32}),
        ("cmk_wrappings", "dek_id = :key", dek, {"algorithm": "RSA1_5"}),
        ("cmk_wrappings", "dek_id = :key", dek, {"wrapped": flipped(bytes(wrapping["wrapped"]), 7)}),
    ]
    for table, where, key, cells in changes:
        names = ", ".join(cells)
        (before,) = town.sql(f"SELECT {names} FROM {table} WHERE {where}", key=key)
        town.change(table, where, key, cells)
        town.app.forget()
        assert acme.read(number).error == "TamperedError", (table, cells)
        town.change(table, where, key, before)
    town.app.forget()
    assert acme.says(number) == "Ann"


def test_is_named_who_gives_a_dek_to_another_tenant(town: Town, acme: Tenant, globex: Tenant) -> None:
    number, theirs = acme.add(name="Ann"), globex.add(name="Gus")
    town.operator.lifecycle.rotate_dek(acme.name)
    (old,) = [row for row in town.deks(acme) if row["state"] == "retired"]
    town.change("cmk_deks", "id = :key", old["id"], {"tenant": globex.name})
    town.store(theirs, town.stored(number))
    is_shut(town, globex, theirs, "added to the table of DEKs")


def test_has_no_dek_wrapped_for_a_vault_of_their_own(town: Town, acme: Tenant) -> None:
    """A junk wrapping that names the attacker's KEK, or the KEK changed; then the operator works on."""
    evil = town.vault(f"evil-{acme.name}", acme.name)
    number = acme.add(name="Ann")
    (mine,) = town.wrappings(acme, "randomized")
    town.insert("cmk_wrappings", {**mine, "kek_uri": evil.key_uri("kek"), "wrapped": b"junk"})
    is_shut(town, acme, number, "a wrapping of DEK")
    for work in (town.operator.lifecycle.rewrap, town.operator.lifecycle.rotate_dek):
        with pytest.raises(TamperedError):
            work(acme.name)
    town.sql("DELETE FROM cmk_wrappings WHERE kek_uri = :uri", uri=evil.key_uri("kek"))
    town.sql(
        "UPDATE cmk_tenants SET kek_uri = :uri WHERE tenant = :name",
        uri=evil.key_uri("kek"),
        name=acme.name,
    )
    is_shut(town, acme, number, "kek_uri was changed")
    with pytest.raises(TamperedError):
        town.operator.lifecycle.rotate_dek(acme.name)
    assert evil.requests.count() == 0


def test_has_nothing_sealed_under_a_dek_of_their_choice(town: Town, acme: Tenant) -> None:
    """Wrapped by acme's own KEK, for which its public key is enough, and with a check value that fits."""
    number = acme.add(name="Ann")
    planted_dek(town, acme)
    is_shut(town, acme, number, "DEK")


def test_brings_no_old_wrapping_back(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    old = town.wrappings(acme)
    newer = town.vault(f"newer-{acme.name}", acme.name)
    town.allow(acme, newer)
    town.operator.assign(acme.name, newer.key_uri("kek"))
    town.app.forget()
    assert acme.says(number) == "Ann"
    for row in old:
        town.insert("cmk_wrappings", row)
    is_shut(town, acme, number, "a wrapping of DEK")


def test_makes_no_retired_dek_active_again(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    town.operator.lifecycle.rotate_dek(acme.name)
    ids = {row["state"]: row["id"] for row in town.deks(acme)}
    old, new = ids["retired"], ids["active"]
    town.sql("UPDATE cmk_deks SET state = 'retired', active_slot = NULL WHERE id = :id", id=new)
    town.sql("UPDATE cmk_deks SET state = 'active', active_slot = 1 WHERE id = :id", id=old)
    is_shut(town, acme, number, "DEK")


def test_brings_no_shredded_tenant_back(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    wrappings, deks = town.wrappings(acme), town.deks(acme, "%")
    town.operator.lifecycle.shred(acme.name, confirm=acme.name)
    town.sql("UPDATE cmk_tenants SET state = 'ok' WHERE tenant = :name", name=acme.name)
    for row in deks:
        cells = {name: row[name] for name in ("state", "active_slot")}
        town.change("cmk_deks", "id = :key", row["id"], cells)
    for row in wrappings:
        town.insert("cmk_wrappings", row)
    is_shut(town, acme, number)


def test_keeps_no_revoked_tenant_open_by_a_borrowed_proof(town: Town, acme: Tenant, globex: Tenant) -> None:
    number, theirs = acme.add(name="Ann"), globex.add(name="Gus")
    (borrowed,) = town.wrappings(globex, "randomized")
    (mine,) = town.wrappings(acme, "randomized")
    town.insert("cmk_wrappings", {**borrowed, "dek_id": mine["dek_id"]})
    acme.vault.disable_key("kek")
    for _ in range(3):
        town.app.advance(301)
        assert globex.says(theirs) == "Gus"
    assert acme.read(number).error in ("TamperedError", "KeyRevoked")


def test_is_named_who_writes_a_state_or_purpose_that_does_not_exist(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    dek = town.deks(acme)[0]
    for column in ("state", "purpose"):
        town.change("cmk_deks", "id = :key", dek["id"], {column: "nonsense"})
        is_shut(town, acme, number, "does not exist")
        town.change("cmk_deks", "id = :key", dek["id"], {column: dek[column]})


def test_gets_no_new_keys_made_where_keys_were_removed(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    remove_keys(town, acme)
    town.app.restart()
    answer = town.app.post(acme.name, name="under the platform's key")
    assert answer.error == "TamperedError" and "removed" in answer.message
    assert acme.read(number).error == "TamperedError"


def test_steers_no_request_to_a_host_or_path_of_their_choice(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    dek = town.deks(acme)[0]["id"]
    with listener() as (port, accepted):
        for cells in (
            {"kek_uri": f"https://127.0.0.1:{port}/keys/kek"},
            {"kek_uri": f"https://127.0.0.1:{port}\\.vault.azure.net/keys/kek"},
            {"kek_uri": f"https://x.vault.azure.net@127.0.0.1:{port}/keys/kek"},
            {"kek_version": "../../secrets/db-password"},
            {"kek_version": "0123/decrypt?x="},
        ):
            (before,) = town.sql(f"SELECT {', '.join(cells)} FROM cmk_wrappings WHERE dek_id = :id", id=dek)
            town.change("cmk_wrappings", "dek_id = :key", dek, cells)
            town.app.forget()
            assert acme.read(number).error == "TamperedError"
            town.change("cmk_wrappings", "dek_id = :key", dek, before)
        assert accepted() == 0
    assert {one.operation for one in acme.vault.requests.matching()} <= {"get", "wrapKey", "unwrapKey"}


def test_shuts_a_tenant_out_of_their_own_data(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    town.change("cmk_tenants", "tenant = :key", acme.name, {"manifest_mac": bytes(32)})
    town.app.forget()
    assert acme.read(number).error == "TamperedError"


def test_is_found_who_appends_changes_or_cuts_the_trail(own_town: Town) -> None:
    acme = own_town.tenant("acme")
    acme.add(name="Ann")
    own_town.app.restart()  # nothing waits there to be written to the trail
    assert own_town.operator.audit.verify().problems == ()
    trail = own_town.copy_of("cmk_audit", "cmk_audit_head")
    last = max(own_town.sql("SELECT * FROM cmk_audit"), key=lambda row: row["seq"])
    forged = {**last, "seq": last["seq"] + 1, "previous": last["hash"], "hash": "0" * 64}
    attacks = {
        "appends": lambda: own_town.insert("cmk_audit", forged),
        "changes": lambda: own_town.change("cmk_audit", "seq = :key", last["seq"], {"actor": "nobody"}),
        "cuts": lambda: own_town.sql("DELETE FROM cmk_audit WHERE seq = :seq", seq=last["seq"]),
        "empties": lambda: own_town.sql("DELETE FROM cmk_audit"),
    }
    for name, attack in attacks.items():
        attack()
        assert own_town.operator.audit.verify().problems != (), name
        own_town.put_back(trail)
    assert own_town.operator.audit.verify().problems == ()


def test_has_a_tenant_forgotten_whose_trail_is_removed_too(own_town: Town) -> None:
    """A process that starts then makes new keys, under the platform's key; heads kept outside tell."""
    acme = own_town.tenant("acme")
    number = acme.add(name="Ann")
    own_town.app.restart()
    heads = own_town.operator.audit.heads()
    remove_keys(own_town, acme)
    own_town.sql("DELETE FROM cmk_audit")
    own_town.sql("DELETE FROM cmk_audit_head")
    strict = own_town.setting.keyring(
        own_town.engine, "strict", kek_allowed=KekPolicy({acme.name: host(acme.vault)})
    )
    with pytest.raises(KekNotAllowed):
        strict.warm([acme.name], new=True)
    strict.close()
    assert not own_town.app.post(acme.name, name="under the platform's key").error
    assert acme.read(number).error == "TamperedError"
    assert {row["kek_uri"] for row in own_town.wrappings(acme)} == {own_town.setting.platform_key}
    auditor = own_town.keyring()
    assert acme.name in "\n".join(auditor.audit.verify(heads).problems)
    auditor.close()


def remove_keys(town: Town, tenant: Tenant) -> None:
    for row in town.wrappings(tenant):
        town.sql("DELETE FROM cmk_wrappings WHERE dek_id = :id", id=row["dek_id"])
    town.sql("DELETE FROM cmk_deks WHERE tenant = :name", name=tenant.name)
    town.sql("DELETE FROM cmk_tenants WHERE tenant = :name", name=tenant.name)


def test_has_nothing_wrapped_by_a_vault_that_the_applications_list_does_not_name(town: Town) -> None:
    """Not even where the record key is known to the attacker, or an operator is mistaken."""
    acme = town.tenant("acme")
    acme.add(name="Ann")
    evil = town.vault(f"evil-{acme.name}", acme.name)
    with pytest.raises(KekNotAllowed):
        town.operator.assign(acme.name, evil.key_uri("kek"))
    with pytest.raises(KekNotAllowed):
        town.operator.lifecycle.add_wrapping(acme.name, evil.key_uri("kek"))
    assert evil.requests.count() == 0


class listener:
    """A server that counts who connects to it."""

    def __enter__(self) -> tuple[int, Callable[[], int]]:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        return self._socket.getsockname()[1], self._accepted

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accepted(self) -> int:
        count = 0
        while True:
            try:
                self._socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1
