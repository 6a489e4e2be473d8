"""SQL text that names a sealed column is warned of, or refused, where nothing would seal it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import String, insert, select, text
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, Keyring, UnsupportedOperation
from sqlalchemy_cmk.dbapi import transparent
from sqlalchemy_cmk.keys.raw_sql import guarded
from sqlalchemy_cmk.rekey import Job, Rekey
from tests.support.vault import Vault

NAMES = [
    "SELECT ssn FROM people",
    'SELECT "SSN" FROM "people"',
    "SELECT * FROM people",
    "INSERT INTO people VALUES (1, 'x', 'y')",
    "UPDATE people SET ssn = 'x' WHERE id = 1",
]
DOES_NOT = [
    "SELECT id, title FROM people",
    "SELECT COUNT(*) FROM people",
    "SELECT 'ssn'",
    "UPDATE people SET title = 'x' WHERE id = 1",
]


def made(make_vault: Callable[..., Vault], **options: Any) -> tuple[Vault, Any]:
    vault = make_vault(**options)

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = None
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(20)))
        title: Mapped[str | None] = mapped_column(String(20))

    vault.create()
    return vault, Person


def test_it_is_refused_where_the_keyring_says_so(make_vault: Callable[..., Vault]) -> None:
    vault, person = made(make_vault, raw_sql="refuse")
    with vault.engine.begin() as connection:
        for statement in NAMES:
            with pytest.raises(UnsupportedOperation, match="transparent"):
                connection.execute(text(statement))
            with pytest.raises(UnsupportedOperation):
                connection.exec_driver_sql(statement)
        for statement in DOES_NOT:
            connection.execute(text(statement))
        connection.execute(insert(person), {"id": 1, "ssn": "x"})
        assert connection.execute(select(person.ssn)).scalars().all() == ["x"]
        allowed = connection.execution_options(cmk_raw_sql="allow")
        assert isinstance(allowed.exec_driver_sql(NAMES[0]).scalar_one(), bytes)


def test_the_librarys_own_statements_pass(make_vault: Callable[..., Vault]) -> None:
    vault, person = made(make_vault, raw_sql="refuse", revalidate_after=0.1)
    with vault.session() as session:
        session.add_all(person(id=i, ssn=str(i)) for i in range(5))
        session.commit()
    vault.keyring.lifecycle.rotate_dek("")
    assert Rekey(vault.keyring, rate=None).run(Job.of(person.__table__)).ok
    with transparent(vault.engine, vault.keyring).connect() as connection:
        assert connection.execute(text("SELECT ssn FROM people ORDER BY id")).scalars().all() == list("01234")


def test_it_is_warned_of_once(make_vault: Callable[..., Vault], caplog: pytest.LogCaptureFixture) -> None:
    vault, _ = made(make_vault)
    with caplog.at_level(logging.WARNING, "sqlalchemy_cmk.sql"), vault.engine.begin() as connection:
        for statement in (*DOES_NOT, NAMES[0], NAMES[0], NAMES[4]):
            connection.execute(text(statement))
    assert [one.name for one in caplog.records] == ["sqlalchemy_cmk.sql"] * 2
    assert "people.ssn" in caplog.text and "'x'" not in caplog.text


def test_it_is_refused_again_where_a_keyring_follows_one_that_was_closed(
    make_vault: Callable[..., Vault],
) -> None:
    vault, _ = made(make_vault, raw_sql="refuse")
    metadata = vault.base.metadata
    vault.keyring.close()
    with vault.engine.connect() as connection:
        connection.execute(text(NAMES[0]))
        assert metadata not in guarded, "a metadata that no keyring protects is looked at for nothing"
    with Keyring(
        vault.engine, platform_key="local:pmk", providers=[vault.provider], raw_sql="refuse"
    ) as other:
        other.protect(vault.base)
        with vault.engine.connect() as connection, pytest.raises(UnsupportedOperation, match="transparent"):
            connection.execute(text(NAMES[0]))


def test_an_unknown_answer_is_refused(make_vault: Callable[..., Vault]) -> None:
    with pytest.raises(ConfigurationError, match="raw_sql"):
        make_vault(raw_sql="maybe")
