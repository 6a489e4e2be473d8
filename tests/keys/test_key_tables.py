"""The database is not trusted with keys: what is changed in the key tables by hand is named, and not used."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Column, Table, insert, select, update

from sqlalchemy_cmk import ConfigurationError, KekNotAllowed, KekPolicy, TamperedError
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.storage.tables import KeyTables
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.scope import tenant_scope
from tests.keys.conftest import statements
from tests.support.keys import adopt
from tests.support.world import World

# seen_at says when a KEK last opened a DEK; what it says decides nothing.
OBSERVED = {"seen_at"}


def settled(world: World) -> World:
    """The world with acme and globex, each with a KEK, an active and a retired DEK."""
    for tenant in ("acme", "globex"):
        world.keyring.assign(tenant, f"local:{tenant}")
        world.write(tenant, f"{tenant} old")
        world.keyring.lifecycle.rotate_dek(tenant)
        world.write(tenant, f"{tenant} new")
    return world


@pytest.fixture
def town(world: World) -> World:
    """Acme and globex on each database, with a second wrapping of acme's DEKs."""
    settled(world).keyring.lifecycle.add_wrapping("acme", "local:second")
    world.restart()
    return world


@pytest.fixture
def lite_town(lite: World) -> World:
    """Acme and globex on SQLite."""
    settled(lite).restart()
    return lite


def tables(world: World) -> KeyTables:
    return world.keyring.database.tables


def change(world: World, statement: Any) -> None:
    with world.engine.begin() as connection:
        assert connection.execute(statement).rowcount != 0


def rows(world: World, table: Table) -> list[dict[str, Any]]:
    with world.engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def refused(world: World, tenant: str = "acme") -> str:
    """What every use of a tenant's keys says, in a process that has nothing open; other tenants go on."""
    other = "globex" if tenant == "acme" else "acme"
    world.restart()
    lifecycle = world.keyring.lifecycle
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: world.read(tenant),
        "write": lambda: world.write(tenant, "more"),
        "assign": lambda: lifecycle.assign(tenant, "local:other"),
        "rotate": lambda: lifecycle.rotate_dek(tenant),
        "add": lambda: lifecycle.add_wrapping(tenant, "local:other"),
        "rewrap": lambda: lifecycle.rewrap(tenant),
        "shred": lambda: lifecycle.shred(tenant, confirm=tenant),
    }
    said = set()
    for use, act in uses.items():
        with pytest.raises(TamperedError) as caught:
            act()
        assert f"'{tenant}'" in str(caught.value), use
        said.add(str(caught.value).partition("the keys of tenant")[2])
    assert world.read(other) == [f"{other} old", f"{other} new"]
    (message,) = said
    return message


def cells(town: World) -> Iterator[tuple[str, str]]:
    for table in (tables(town).tenants, tables(town).deks, tables(town).wrappings):
        for column in table.columns:
            if column.name not in OBSERVED:
                yield table.name, column.name


def another(value: Any, others: list[Any], column: Column[Any]) -> Any:
    """A value of the same kind that is not this one: one from another row, if there is one."""
    for other in others:
        if other != value:
            return other
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return value[:-1] + "x"
    of_kind = {float: 1.0, str: "0123456789abcdef", datetime: datetime(2020, 1, 1, tzinfo=UTC)}
    return of_kind[column.type.python_type] if value is None else value


def test_no_cell_of_the_key_tables_can_be_changed_by_hand(lite_town: World) -> None:
    """Every cell of acme's rows but the keys' names and the observation, one after the other."""
    world = lite_town
    tried = []
    for name, column in cells(world):
        table = world.keyring.database.tables_of(lambda metadata, _: metadata.tables)[name]
        key = next(iter(table.primary_key)).name
        if column in {one.name for one in table.primary_key} or column in ("active_slot", "tenant"):
            continue
        of_acme = {bytes(one["id"]) for one in rows(world, tables(world).deks) if one["tenant"] == "acme"}
        for row in rows(world, table):
            if row[key] != "acme" and row[key] not in of_acme:
                continue
            others = [one[column] for one in rows(world, table)]
            new = another(row[column], others, table.c[column])
            if new == row[column]:
                continue
            where = [one == row[one.name] for one in table.primary_key]
            change(world, update(table).where(*where).values({column: new}))
            assert refused(world), (name, column)
            change(world, update(table).where(*where).values({column: row[column]}))
            tried.append((name, column))
    world.restart()
    assert world.read("acme") == ["acme old", "acme new"]
    assert {name for name, _ in tried} == {"cmk_tenants", "cmk_deks", "cmk_wrappings"}
    assert len(set(tried)) >= 15


def test_a_dek_relabelled_to_another_tenant_is_named(town: World) -> None:
    d = tables(town).deks
    old = next(one for one in rows(town, d) if one["tenant"] == "acme" and one["retired_at"])
    change(town, update(d).where(d.c.id == old["id"]).values(tenant="globex"))
    town.execute("UPDATE notes SET owner = 'globex' WHERE owner = 'acme'")
    town.restart()
    with tenant_scope("globex"), pytest.raises(TamperedError, match="added to the table of DEKs"):
        town.read("globex")


def test_a_junk_wrapping_is_not_rewrapped_for_its_kek(town: World) -> None:
    d, w = tables(town).deks, tables(town).wrappings
    dek = next(one["id"] for one in rows(town, d) if one["tenant"] == "acme")
    junk = {"kek_uri": "local:evil", "kek_version": "1", "algorithm": "A256KW", "wrapped": b"junk"}
    change(town, insert(w).values(dek_id=dek, **junk))
    assert "a wrapping of DEK" in refused(town) and "added" in refused(town)
    assert "evil" in {one["kek_uri"].partition(":")[2] for one in rows(town, w)}


def test_a_changed_kek_wraps_no_new_dek(town: World) -> None:
    t = tables(town).tenants
    change(town, update(t).where(t.c.tenant == "acme").values(kek_uri="local:evil"))
    assert "kek_uri was changed in the table of tenants" in refused(town)


def test_a_planted_dek_seals_nothing(town: World) -> None:
    """Globex's DEK as acme's active one, and one of the attacker's choice wrapped for acme's KEK."""
    d, w = tables(town).deks, tables(town).wrappings
    active = next(one for one in rows(town, d) if one["tenant"] == "acme" and one["active_slot"])
    change(town, update(d).where(d.c.id == active["id"]).values(state="retired", active_slot=None))
    change(town, insert(d).values(**{**active, "id": b"planted!"}))
    wrapping = next(one for one in rows(town, w) if one["dek_id"] == active["id"])
    change(town, insert(w).values(**{**wrapping, "dek_id": b"planted!"}))
    assert "DEK" in refused(town)


def test_an_old_wrapping_that_is_put_back_does_not_open(town: World) -> None:
    w = tables(town).wrappings
    before = rows(town, w)
    town.keyring.assign("acme", "local:newer")
    old = [one for one in before if one["kek_uri"] == "local:acme"]
    for row in old:
        change(town, insert(w).values(**row))
    assert "a wrapping of DEK" in refused(town)


def test_a_shredded_tenant_cannot_be_put_back_together(town: World) -> None:
    t, d, w = tables(town).tenants, tables(town).deks, tables(town).wrappings
    before = {one: rows(town, one) for one in (d, w)}
    town.keyring.lifecycle.shred("acme", confirm="acme")
    change(town, update(t).where(t.c.tenant == "acme").values(state="ok"))
    for row in before[d]:
        change(town, update(d).where(d.c.id == row["id"]).values(**row))
    for row in before[w]:
        if row["dek_id"] in {one["id"] for one in before[d] if one["tenant"] == "acme"}:
            change(town, insert(w).values(**row))
    assert refused(town)


def test_a_whole_tenant_put_back_is_noticed_by_a_process_that_has_seen_the_newer_one(town: World) -> None:
    t, d, w = tables(town).tenants, tables(town).deks, tables(town).wrappings
    before = {one: rows(town, one) for one in (t, d, w)}
    town.keyring.assign("acme", "local:newer")
    town.read("acme")
    for table in (w, d, t):
        change(town, table.delete())
    for table in (t, d, w):
        with town.engine.begin() as connection:
            connection.execute(insert(table), before[table])
    town.keyring.forget()
    with pytest.raises(TamperedError, match=r"tenant 'acme' went back from epoch \d+ to \d+"):
        town.read("acme")


def test_a_tenant_whose_keys_were_removed_gets_no_new_ones(town: World) -> None:
    t, d, w = tables(town).tenants, tables(town).deks, tables(town).wrappings
    acme = select(d.c.id).where(d.c.tenant == "acme")
    change(town, w.delete().where(w.c.dek_id.in_(acme)))
    change(town, d.delete().where(d.c.tenant == "acme"))
    change(town, t.delete().where(t.c.tenant == "acme"))
    for _ in range(2):
        with pytest.raises(TamperedError, match="tenant 'acme' were removed"):
            town.write("acme", "under the platform's key")
        town.restart()


@pytest.mark.parametrize(("column", "value"), [("state", "sleeping"), ("purpose", "signing"), ("state", "")])
def test_a_state_or_purpose_outside_its_list_is_tampering(town: World, column: str, value: str) -> None:
    d = tables(town).deks
    for row in rows(town, d):
        if row["tenant"] == "acme":
            change(town, update(d).where(d.c.id == row["id"]).values({column: value}))
    assert "state or purpose that does not exist" in refused(town)
    with_status = {line.tenant: line for line in town.keyring.status()}
    assert with_status["acme"].state is TenantState.TAMPERED and "does not exist" in str(
        with_status["acme"].reason
    )
    assert with_status["globex"].state is TenantState.OK


def test_a_proof_of_another_tenants_kek_is_not_borrowed(world: World) -> None:
    """Without a record key too: acme's wrappings name globex's KEK, which is proven all the time."""
    world.restart(providers=[Unrecorded(world)])
    for tenant in ("acme", "globex"):
        world.keyring.assign(tenant, f"local:{tenant}")
        world.write(tenant, f"{tenant} one")
    w, d = tables(world).wrappings, tables(world).deks
    globex = next(one for one in rows(world, w) if one["kek_uri"] == "local:globex")
    acme = next(one["id"] for one in rows(world, d) if one["tenant"] == "acme")
    change(world, insert(w).values(**{**globex, "dek_id": acme}))
    world.provider.disable("local:acme")
    for _ in range(3):
        world.now += 301
        assert world.read("globex") == ["globex one"]
    with pytest.raises(Exception, match=r"disabled|another key"):
        world.read("acme")


def test_a_kek_that_answers_with_another_key_is_named_before_anything_is_opened_or_sealed(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(town.provider), "unwrap", lambda self, wrapped: Secret(bytes(range(32))))
    for act in (lambda: town.read("acme"), lambda: town.write("acme", "lost")):
        with pytest.raises(TamperedError, match="another key than DEK"):
            act()
    assert town.raw("SELECT count(*) FROM notes") == [(4,)]


def test_the_check_value_alone_finds_a_borrowed_dek(world: World) -> None:
    """Without a record key: globex's DEK, re-labelled with its wrapping as acme's active one."""
    world.restart(providers=[Unrecorded(world)])
    for tenant in ("acme", "globex"):
        world.write(tenant, "one")
    d = tables(world).deks
    mine, theirs = (next(one for one in rows(world, d) if one["tenant"] == who) for who in ("acme", "globex"))
    change(world, update(d).where(d.c.id == mine["id"]).values(state="retired", active_slot=None))
    change(world, update(d).where(d.c.id == theirs["id"]).values(tenant="acme"))
    world.restart(providers=[Unrecorded(world)])
    with pytest.raises(TamperedError, match="another key than DEK"):
        world.write("acme", "under globex's DEK")


def test_keys_that_were_authenticated_need_a_keyring_with_a_record_key(town: World) -> None:
    town.restart(providers=[Unrecorded(town)])
    with pytest.raises(ConfigurationError, match=r"give it Keyring\(record_key=...\)"):
        town.read("acme")


def test_keys_without_a_manifest_are_refused_by_a_keyring_with_a_record_key(world: World) -> None:
    world.restart(providers=[Unrecorded(world)])
    world.write("acme", "one")
    world.restart()
    with pytest.raises(TamperedError, match=r"no manifest.*cmk record-key adopt"):
        world.read("acme")
    assert world.keyring.record_key.adopt() == 1
    assert world.read("acme") == ["one"]


def test_a_cold_open_takes_two_statements_and_a_warm_one_none(town: World) -> None:
    with statements() as cold:
        assert len(town.read("acme")) == 2
    # Two DEKs, each with the tenant and with its DEKs.
    assert len([one for one in cold if one.startswith("SELECT") and "cmk_audit" not in one]) == 4
    with statements() as warm:
        town.read("acme")
    assert warm == []


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_what_is_written_at_the_same_time_is_not_taken_for_tampering(town: World) -> None:
    """A reader whose second statement sees what another process has written after the first."""
    other = World(town.url, town.folder)
    done = []

    def write(statement: str) -> None:
        if "cmk_deks" in statement and statement.startswith("SELECT") and not done:
            done.append(True)
            other.keyring.assign("acme", "local:meanwhile")

    with statements(write):
        assert town.read("acme") == ["acme old", "acme new"]
    assert done
    other.close()


def test_keys_are_adopted_as_they_are_by_an_operator(town: World) -> None:
    d = tables(town).deks
    change(town, update(d).where(d.c.tenant == "acme").values(created_at=datetime(2001, 1, 1, tzinfo=UTC)))
    assert refused(town)
    adopt(town.keyring)
    town.restart()
    assert town.read("acme", "globex") == ["acme old", "acme new", "globex old", "globex new"]


class Unrecorded(LocalKeyProvider):
    """The local provider on a world's key file, without a place for a record key."""

    def __init__(self, world: World) -> None:
        super().__init__(world.provider.path)

    def record_key_file(self) -> None:
        return None


class TestPolicy:
    """``Keyring(kek_allowed=...)`` is asked at every wrap and unwrap."""

    def test_a_kek_that_may_not_serve_a_tenant_is_never_asked(self, world: World) -> None:
        asked = []

        def allowed(tenant: str, kek_uri: str) -> bool:
            asked.append((tenant, kek_uri))
            return kek_uri != "local:evil"

        world.restart(kek_allowed=allowed)
        world.write("acme", "one")
        lifecycle = world.keyring.lifecycle
        for act in (lifecycle.assign, lifecycle.add_wrapping):
            world.provider.calls.clear()
            with pytest.raises(KekNotAllowed, match="'local:evil' may not serve tenant 'acme'"):
                act("acme", "local:evil")
            assert world.provider.calls in ([], ["unwrap"])
        assert ("acme", "local:pmk") in asked
        assert "evil" not in world.provider.path.read_text()

    def test_what_is_not_allowed_any_more_does_not_open(self, world: World) -> None:
        allowed = {"acme": True}
        world.restart(kek_allowed=lambda tenant, kek_uri: allowed.get(tenant, True))
        world.write("acme", "one")
        allowed["acme"] = False
        world.now += 301
        with pytest.raises(KekNotAllowed):
            world.read("acme")

    def test_an_answer_that_is_no_bool_is_refused(self, world: World) -> None:
        world.restart(kek_allowed=lambda tenant, kek_uri: "no")
        with pytest.raises(ConfigurationError, match="returns a bool, not str"):
            world.write("acme", "one")


@pytest.mark.parametrize(
    ("tenant", "kek_uri", "allowed"),
    [
        ("acme", "https://acme.vault.azure.net/keys/k", True),
        ("acme", "https://acme.vault.azure.net/keys/k/0123", True),
        ("acme", "https://globex.vault.azure.net/keys/k", False),
        ("acme", "https://acme.vault.azure.net.evil.example/keys/k", False),
        ("acme", "https://evil.example/acme.vault.azure.net/keys/k", False),
        ("acme", "https://acme.vault.azure.net@evil.example/keys/k", False),
        ("acme", "https://acme.vault.azure.net:444/keys/k", False),
        ("acme", "http://acme.vault.azure.net/keys/k", False),
        ("acme", "local:pmk", True),
        ("", "local:pmk", True),
        ("acme", "local:pmk2", False),
        ("new", "https://acme.vault.azure.net/keys/k", False),
        ("new", "local:pmk", True),
    ],
)
def test_a_policy_lists_whose_vault_serves_whom(tenant: str, kek_uri: str, allowed: bool) -> None:
    policy = KekPolicy({"acme": "acme.vault.azure.net"}, everyone=["local:pmk"])
    assert policy(tenant, kek_uri) is allowed


@pytest.mark.parametrize(
    ("tenant", "allowed"), [("acme", True), ("ACME", False), ("x.evil", False), ("acme/", False), ("", False)]
)
def test_a_policys_pattern_takes_names_that_are_one_label(tenant: str, allowed: bool) -> None:
    policy = KekPolicy("kv-{tenant}.vault.azure.net")
    assert policy(tenant, f"https://kv-{tenant}.vault.azure.net/keys/k") is allowed
    assert not policy("other", "https://kv-acme.vault.azure.net/keys/k")


def test_a_policy_is_given_what_it_needs() -> None:
    with pytest.raises(ConfigurationError, match=r"\{tenant\}"):
        KekPolicy("one.vault.azure.net")
    with pytest.raises(ConfigurationError, match=r"give \['local:pmk'\]"):
        KekPolicy({}, everyone="local:pmk")
