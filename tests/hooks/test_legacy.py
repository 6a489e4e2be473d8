"""`accept_legacy`: a column that another library encrypted is read as it was, and nothing is written so."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Date, Integer, String, TypeDecorator, insert, select, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import DeclarativeBase, mapped_column

from sqlalchemy_cmk import (
    ConfigurationError,
    EncryptedType,
    KeyRevoked,
    Sealed,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    UnsupportedOperation,
    tenant_scope,
)
from sqlalchemy_cmk.rekey import Job, Rekey, count_rows
from tests.hooks.adoption import model_of
from tests.support.old_types import KEY, OLD_FERNET, OLD_GCM, OLD_STRING, OLD_TYPES
from tests.support.vault import Vault

SSN = "078-05-1120"


def as_before(type_: Any, value: Any = SSN) -> Any:
    """What another library's type writes for a value."""
    return type_.bind_processor(DefaultDialect())(value)


def model(vault: Vault, *accepted: Any, declared: Any = None, **options: Any) -> Any:
    """A model of tenants' rows."""
    columns = {"clinic": mapped_column(String(20)), "__cmk_tenant__": "clinic"}
    sealed = EncryptedType(declared or String(11), accept_legacy=accepted, **options)
    thing = model_of(vault.base, sealed, **columns)
    vault.create()
    return thing


def store(vault: Vault, *values: Any, clinic: str = "acme") -> None:
    with vault.engine.begin() as connection:
        for value in values:
            # A column of bytes gives text back as bytes.
            raw = (
                value.encode() if isinstance(value, str) and vault.engine.dialect.name != "sqlite" else value
            )
            connection.execute(
                text("INSERT INTO things (clinic, value) VALUES (:c, :v)"), {"c": clinic, "v": raw}
            )


def stored(vault: Vault) -> list[bytes]:
    values = (row[0] for row in vault.raw("SELECT value FROM things ORDER BY id"))
    return [one.encode() if isinstance(one, str) else bytes(one) for one in values]


def test_old_values_of_every_library_and_new_ones_are_read_side_by_side(vault: Vault) -> None:
    thing = model(vault, *OLD_TYPES.values())
    store(vault, *(as_before(one) for one in OLD_TYPES.values()))
    with vault.session() as session:
        session.add(thing(clinic="acme", value="new"))
        session.execute(insert(thing), [{"clinic": "acme", "value": "bulk"}])
        session.commit()
        rows = select(thing.value, thing.clinic).order_by(thing.id)
        assert list(session.scalars(rows)) == [*[SSN] * len(OLD_TYPES), "new", "bulk"]
        first = session.scalars(select(thing).where(thing.id == 1)).one()
        first.value = "changed"
        session.commit()
    sealed = [one for one in stored(vault) if one[0] == 1]
    assert [vault.owner(one) for one in sealed] == ["acme"] * 3


def test_a_value_that_begins_like_ours_is_never_handed_to_the_old_type(
    make_vault: Callable[[], Vault],
) -> None:
    class Anything(TypeDecorator[str]):
        impl, cache_ok = String, True

        def process_result_value(self, value: Any, dialect: Any) -> str:
            return "opened"

    vault = make_vault()
    thing = model(vault, Anything())
    with vault.session() as session:
        session.add(thing(clinic="acme", value=SSN))
        session.commit()
    whole = stored(vault)[0]
    cut = [whole[:-1], whole[:9], whole[:5], b"\x01", whole[:20] + b"x" + whole[21:], b"\x02" + whole[1:]]
    for damaged in [*cut, b"\x01" + b"unknown DEK" * 5, "\x01 as text"]:
        with vault.engine.begin() as connection:
            connection.execute(text("UPDATE things SET value = :v"), {"v": damaged})
        with vault.session() as session, pytest.raises(TamperedError, match=r"things\.value"):
            session.scalars(select(thing)).all()
        assert Rekey(vault.keyring).run(Job.of(thing.__table__)).rows_changed == 0
        assert vault.raw("SELECT value FROM things") == [(damaged,)]


def test_what_no_old_type_opens_is_tampering_and_shows_nothing(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    thing = model(vault, OLD_FERNET, OLD_STRING)
    store(vault, "SECRET in plain text")
    with vault.session() as session, pytest.raises(TamperedError, match=r"things\.value.*no type") as caught:
        session.scalars(select(thing)).all()
    error: BaseException | None = caught.value
    while error is not None:
        assert "SECRET" not in str(error)
        error = error.__cause__ or error.__context__


def test_an_old_value_of_another_form_than_is_sealed_is_tampering(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    thing = model(vault, OLD_FERNET, declared=Integer())
    store(vault, as_before(OLD_FERNET))
    with vault.session() as session, pytest.raises(TamperedError, match=r"things\.value"):
        session.scalars(select(thing)).all()


def test_only_its_row_or_a_scope_says_whose_an_old_value_is(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    thing = model(vault, OLD_FERNET)
    store(vault, as_before(OLD_FERNET))
    with vault.session() as session:
        with pytest.raises(TenantRequired):
            session.scalars(select(thing.value)).all()
        with tenant_scope("acme"):
            assert session.scalars(select(thing.value)).all() == [SSN]
        with tenant_scope("globex"), pytest.raises(TenantMismatch, match="acme"):
            session.scalars(select(thing)).all()
    with vault.engine.begin() as connection:
        connection.execute(text("UPDATE things SET clinic = ''"))
    with vault.session() as session, pytest.raises(TamperedError, match="tenant column is empty"):
        session.scalars(select(thing)).all()


@pytest.mark.parametrize("on_revoked", ["raise", "seal"])
def test_a_tenants_revocation_closes_old_values_too(make_vault: Callable[[], Vault], on_revoked: Any) -> None:
    vault = make_vault()
    thing = model(vault, OLD_FERNET, on_revoked=on_revoked)
    vault.keyring.assign("acme", "local:acme")
    vault.keyring.warm(["acme"], new=True)
    old = as_before(OLD_FERNET)
    store(vault, old)
    vault.provider.disable("local:acme")
    vault.keyring.forget()
    with vault.session() as session:
        if on_revoked == "raise":
            with pytest.raises(KeyRevoked):
                session.scalars(select(thing)).all()
            return
        found = session.scalars(select(thing)).one()
        assert isinstance(found.value, Sealed)
        found.value = found.value
        session.commit()
    assert vault.raw("SELECT value FROM things") in ([(old,)], [(old.encode(),)])


def test_rekeying_seals_old_values_and_the_option_can_go(vault: Vault) -> None:
    thing = model(vault, OLD_GCM, OLD_STRING)
    store(vault, as_before(OLD_GCM), as_before(OLD_STRING), as_before(OLD_GCM, "219-09-9999"))
    store(vault, as_before(OLD_STRING), clinic="globex")
    with vault.engine.connect() as connection:
        before = count_rows(connection, thing.__table__, ["value"], vault.keyring.dek_states())["value"]
    assert before.unsealed == 4
    report = Rekey(vault.keyring).run(Job.of(thing.__table__))
    assert (report.rows_changed, report.damaged) == (4, ())
    assert [vault.owner(one) for one in stored(vault)] == [*["acme"] * 3, "globex"]
    strict: Any = type("Strict", (DeclarativeBase,), {})
    sealed = model_of(
        strict, EncryptedType(String(11)), clinic=mapped_column(String(20)), __cmk_tenant__="clinic"
    )
    vault.keyring.protect(strict)
    with vault.session() as session:
        rows = select(sealed.value, sealed.clinic).order_by(sealed.id)
        assert list(session.scalars(rows)) == [SSN, SSN, "219-09-9999", SSN]


def test_an_old_value_that_cannot_be_opened_is_listed_and_left(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    thing = model(vault, OLD_FERNET)
    store(vault, as_before(OLD_FERNET), "SECRET in plain text")
    report = Rekey(vault.keyring).run(Job.of(thing.__table__))
    assert report.rows_changed == 1 and len(report.damaged) == 1
    assert "SECRET" not in repr(report.damaged)


def test_a_copy_into_a_column_that_does_not_accept_old_values_is_refused(
    make_vault: Callable[[], Vault],
) -> None:
    vault = make_vault()
    other = mapped_column(EncryptedType(String(11), context="shared"))
    sealed = EncryptedType(String(11), accept_legacy=[OLD_FERNET], context="shared")
    thing = model_of(vault.base, sealed, other=other)
    vault.create()
    with vault.session() as session:
        with pytest.raises(UnsupportedOperation, match=r"things\.other"):
            session.execute(thing.__table__.update().values(other=thing.value))
        session.execute(thing.__table__.update().values(value=thing.other))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"accept_legacy": [String(11)]}, "String does not"),
        ({"accept_legacy": [Date]}, "Date does not"),
        ({"accept_legacy": OLD_FERNET}, "is a list of types"),
        ({"accept_legacy": [OLD_FERNET], "accept_plaintext": True}, "choose one"),
    ],
)
def test_what_would_read_anything_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        EncryptedType(String(11), **options)
    assert KEY not in str(caught.value)


def test_a_type_that_decrypts_in_the_database_is_refused_when_it_is_read(
    make_vault: Callable[[], Vault],
) -> None:
    class InTheDatabase(TypeDecorator[str]):
        impl, cache_ok = String, True

        def process_result_value(self, value: Any, dialect: Any) -> Any:
            return value

        def column_expression(self, column: Any) -> Any:
            return text("decrypted")

    vault = make_vault()
    thing = model(vault, InTheDatabase())
    store(vault, "ciphertext")
    with vault.session() as session, pytest.raises(ConfigurationError, match="in the database"):
        session.scalars(select(thing)).all()


def test_the_old_types_are_part_of_the_cache_key_and_only_their_names_are_shown() -> None:
    strict, one = EncryptedType(String(5)), EncryptedType(String(5), accept_legacy=[OLD_STRING])
    assert strict._static_cache_key != one._static_cache_key
    assert repr(one) == "EncryptedType(String(length=5), accept_legacy=[EncryptedString])"
    assert KEY not in repr(one.scheme)
    assert pickle.loads(pickle.dumps(strict.scheme)) == strict.scheme
