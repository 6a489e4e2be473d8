"""`accept_plaintext`: a column that is being adopted reads what it held before, and nothing else unsealed."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
    insert,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    KeyRevoked,
    Sealed,
    TamperedError,
    TenantMismatch,
    UnsupportedOperation,
    tenant_scope,
)
from tests.hooks.adoption import TYPES, Colour, before_adoption, make_binary, model_of
from tests.support.vault import Vault

TEXT = String(40)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_row_that_is_not_sealed_yet_reads_as_it_did(vault: Vault, name: str, deterministic: bool) -> None:
    declared, values = TYPES[name]
    before = before_adoption(vault.engine, declared, values)
    make_binary(vault.engine)
    sealed = EncryptedType(declared, deterministic=deterministic, accept_plaintext=True)
    thing = model_of(vault.base, sealed)
    vault.create()
    with vault.session() as session:
        found = list(session.scalars(select(thing).order_by(thing.id)))
        assert [one.value for one in found] == before
        assert [type(one.value) for one in found] == [type(one) for one in before]
        # Written again, each is sealed, and still the same.
        for one in found:
            one.value = one.value
            session.execute(update(thing).where(thing.id == one.id).values(value=one.value))
        session.commit()
    stored = [bytes(row[0]) for row in vault.raw("SELECT value FROM things ORDER BY id")]
    assert [vault.owner(one) for one in stored] == [""] * len(values)
    with vault.session() as session:
        assert list(session.scalars(select(thing.value).order_by(thing.id))) == before


def mixed(vault: Vault, *values: Any, declared: Any = TEXT, **options: Any) -> Any:
    """A model of tenants' rows, each of which holds a plaintext of acme."""
    columns = {"clinic": mapped_column(String(20)), "__cmk_tenant__": "clinic"}
    sealed = EncryptedType(declared, accept_plaintext=True, **options)
    thing = model_of(vault.base, sealed, **columns)
    vault.create()
    store(vault, *values)
    return thing


def store(vault: Vault, *values: Any, clinic: str = "acme") -> None:
    with vault.engine.begin() as connection:
        for value in values:
            raw = (
                value.encode() if isinstance(value, str) and vault.engine.dialect.name != "sqlite" else value
            )
            statement = text("INSERT INTO things (clinic, value) VALUES (:clinic, :value)")
            connection.execute(statement, {"clinic": clinic, "value": raw})


def test_without_it_a_plaintext_is_tampering(vault: Vault) -> None:
    before_adoption(vault.engine, String(40), ["078-05-1120"])
    make_binary(vault.engine)
    thing = model_of(vault.base, EncryptedType(String(40)))
    vault.create()
    with vault.session() as session, pytest.raises(TamperedError, match=r"things\.value") as caught:
        session.scalars(select(thing)).all()
    assert "078" not in str(caught.value)


def test_sealed_and_plain_rows_are_read_side_by_side_and_writes_seal(vault: Vault) -> None:
    thing = mixed(vault, "plain")
    with vault.session() as session:
        session.add(thing(clinic="acme", value="sealed"))
        session.execute(insert(thing), [{"clinic": "acme", "value": "bulk"}])
        session.commit()
        found = session.scalars(select(thing.value, thing.clinic).order_by(thing.id))
        assert list(found) == ["plain", "sealed", "bulk"]
        one = session.scalars(select(thing).where(thing.id == 1)).one()
        one.value = "changed"
        session.commit()
    stored = [bytes(row[0]) for row in vault.raw("SELECT value FROM things")]
    assert [vault.owner(one) for one in stored] == ["acme"] * 3


@pytest.mark.parametrize("declared", [String(40), LargeBinary()])
@pytest.mark.parametrize(
    "damage",
    [
        lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[:9],
        lambda sealed: b"\x02" + sealed[1:],
    ],
    ids=["flipped", "cut", "header_only", "other_suite"],
)
def test_what_names_a_dek_and_does_not_open_is_never_plaintext(
    vault: Vault, declared: Any, damage: Callable[[bytes], bytes]
) -> None:
    thing = mixed(vault, declared=declared)
    with vault.session() as session:
        value = "a text" if isinstance(declared, String) else b"some bytes"
        session.add(thing(clinic="acme", value=value))
        session.commit()
    (stored,) = (bytes(row[0]) for row in vault.raw("SELECT value FROM things"))
    with vault.engine.begin() as connection:
        connection.execute(text("UPDATE things SET value = :v"), {"v": damage(stored)})
    with vault.session() as session, pytest.raises(TamperedError, match=stored[1:9].hex()):
        session.scalars(select(thing)).all()


def test_a_value_under_a_destroyed_or_revoked_dek_is_never_plaintext(vault: Vault) -> None:
    thing = mixed(vault, b"\x01plain", declared=LargeBinary())
    vault.keyring.assign("globex", "local:globex")
    with vault.session() as session:
        session.add(thing(clinic="acme", value=b"secret"))
        session.add(thing(clinic="globex", value=b"secret"))
        session.commit()
    vault.keyring.lifecycle.shred("acme", confirm="acme")
    vault.provider.disable("local:globex")
    vault.restart()
    for clinic, number in (("acme", 2), ("globex", 3)):
        with vault.session() as session, pytest.raises(KeyRevoked, match=clinic):
            session.scalars(select(thing).where(thing.id == number)).all()
    with vault.session() as session:
        assert session.scalars(select(thing.value, thing.clinic).where(thing.id == 1)).one() == b"\x01plain"


def test_a_revoked_value_is_sealed_and_not_plaintext(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    thing = mixed(vault, "plain", on_revoked="seal")
    vault.keyring.assign("acme", "local:acme")
    with vault.session() as session:
        session.add(thing(clinic="acme", value="secret"))
        session.commit()
    vault.provider.disable("local:acme")
    vault.restart()
    with vault.session() as session:
        plain, sealed = session.scalars(select(thing.value, thing.clinic).order_by(thing.id))
    assert plain == "plain" and isinstance(sealed, Sealed)


def test_a_plaintext_row_that_changes_its_tenant_is_sealed_for_the_new_one(vault: Vault) -> None:
    thing = mixed(vault, "plain")
    with vault.session() as session:
        one = session.scalars(select(thing)).one()
        one.clinic = "globex"
        session.commit()
        assert one.value == "plain"
    ((stored,),) = vault.raw("SELECT value FROM things")
    assert vault.owner(stored) == "globex"


def test_another_tenants_sealed_value_is_still_refused(vault: Vault) -> None:
    thing = mixed(vault, "plain")
    with vault.session() as session:
        session.add(thing(clinic="acme", value="sealed"))
        session.commit()
    with vault.engine.begin() as connection:
        connection.execute(text("UPDATE things SET clinic = 'globex'"))
    with vault.session() as session, pytest.raises(TamperedError, match="globex"):
        session.scalars(select(thing)).all()


def test_another_tenants_plaintext_is_refused_in_a_scope(vault: Vault) -> None:
    thing = mixed(vault, "plain")
    with vault.session() as session:
        with tenant_scope("acme"):
            assert session.scalars(select(thing)).one().value == "plain"
        session.expunge_all()
        with tenant_scope("globex"), pytest.raises(TenantMismatch, match="acme"):
            session.scalars(select(thing)).all()


@pytest.mark.parametrize(
    ("declared", "stored"),
    [
        (Integer(), "12_000"),
        (Integer(), ""),
        (Integer(), "SECRET"),
        (Float(), "1_0"),
        (Numeric(), "SECRET"),
        (Boolean(), "yes"),
        (Date(), "31/12/1999"),
        (Date(), "0000-00-00"),
        (DateTime(), "infinity"),
        (DateTime(), "1999-12-31 BC"),
        (Time(), "24:00:00"),
        (Interval(), "P1D"),
        (Interval(), ""),
        (JSON(), "{"),
        (Uuid(), "SECRET"),
        (Enum(Colour), "GREEN"),
        (Enum("small", name="size"), "large"),
        (String(40), b"\xff\xfe"),
        (LargeBinary(), 5),
    ],
)
def test_what_is_no_value_of_the_type_is_tampering(make_vault: Any, declared: Any, stored: Any) -> None:
    vault = make_vault()
    thing = mixed(vault, stored, declared=declared)
    with vault.session() as session, pytest.raises(TamperedError, match=r"things\.value") as caught:
        session.scalars(select(thing)).all()
    error: BaseException | None = caught.value
    while error is not None:
        assert "SECRET" not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("declared", [ARRAY(Integer), list[int]])
def test_a_type_whose_plain_form_is_not_certain_is_refused(declared: Any) -> None:
    with pytest.raises(ConfigurationError, match="accept_plaintext"):
        EncryptedType(declared, accept_plaintext=True)


def test_blobs_that_begin_like_a_sealed_value_cost_one_look_a_fetch(make_vault: Any) -> None:
    vault = make_vault()
    thing = mixed(vault, *[b"\x01version1" + bytes([n]) * 60 for n in range(20)], declared=LargeBinary())
    asked: list[bytes] = []
    keys = vault.keyring.keys
    dek = keys.dek
    keys.dek = lambda dek_id: asked.append(dek_id) or dek(dek_id)
    with vault.session() as session:
        assert len(session.scalars(select(thing.value, thing.clinic)).all()) == 20
    assert asked == [b"version1"]


def test_a_deterministic_columns_plain_rows_are_found_by_an_or(vault: Vault) -> None:
    thing = mixed(vault, "me@acme.example", "me@acme.example", deterministic=True)
    with vault.session() as session:
        session.add(thing(clinic="acme", value="me@acme.example"))
        session.commit()
        with tenant_scope("acme"):
            sealed = thing.value == "me@acme.example"
            assert list(session.scalars(select(thing.id).where(sealed))) == [3]
            if vault.engine.dialect.name == "sqlite":
                plain = type_coerce(thing.value, String) == "me@acme.example"
            else:
                plain = type_coerce(thing.value, LargeBinary) == b"me@acme.example"
            both = select(thing.id).where(or_(sealed, plain)).order_by(thing.id)
            assert list(session.scalars(both)) == [1, 2, 3]


def test_a_copy_from_a_column_that_may_hold_plaintext_is_refused_into_one_that_may_not(
    make_vault: Any,
) -> None:
    vault = make_vault()
    shared = {"context": "shared"}
    other = mapped_column(EncryptedType(String(40), **shared))
    thing = model_of(vault.base, EncryptedType(String(40), accept_plaintext=True, **shared), other=other)
    vault.create()
    with vault.session() as session:
        with pytest.raises(UnsupportedOperation, match=r"things\.other"):
            session.execute(update(thing).values(other=thing.value))
        session.execute(update(thing).values(value=thing.other))


def test_the_option_is_part_of_the_cache_key_and_shown() -> None:
    strict, lenient = EncryptedType(String(5)), EncryptedType(String(5), accept_plaintext=True)
    assert strict._static_cache_key != lenient._static_cache_key
    assert repr(strict) == "EncryptedType(String(length=5))"
    assert repr(lenient) == "EncryptedType(String(length=5), accept_plaintext=True)"


def test_a_statement_reads_by_the_option_of_its_own_model(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    lenient = mixed(vault, "plain")
    strict_base: Any = type("Strict", (DeclarativeBase,), {})
    columns = {"clinic": mapped_column(String(20)), "__cmk_tenant__": "clinic"}
    strict = model_of(strict_base, EncryptedType(String(40)), **columns)
    vault.keyring.protect(strict_base)
    with vault.session() as session:
        assert session.scalars(select(lenient.value, lenient.clinic)).one() == "plain"
        with pytest.raises(TamperedError):
            session.scalars(select(strict.value, strict.clinic)).one()
