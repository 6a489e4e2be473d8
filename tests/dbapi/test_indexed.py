"""Rows that SQL text writes are found by the search indexes of their columns."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Date, String, select
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, TenantRequired, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.search import Compound, Exact, NGram, Range
from tests.dbapi.drivers import ALL, Driver
from tests.support.vault import Vault

# A comparison with a list, as PostgreSQL has it.
ANY: tuple[Any, ...] = (
    ("last = ANY(?)", (["Harris", "Nobody"],), [1]),
    ("p.last = ANY ( ? )", (("Tanaka",),), [2]),
    ("last = ANY(?)", ([],), []),
    ("NOT (last = ANY(?))", (["Harris"],), [2]),
)
BORN = Range(date(1900, 1, 1), date(2100, 1, 1))


@pytest.fixture
def person(vault: Vault) -> Any:
    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        __cmk_indexes__ = (Compound("last", "born"),)
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(20))
        last: Mapped[str | None] = mapped_column(EncryptedType(String(20), index=[Exact(), NGram(3)]))
        born: Mapped[date | None] = mapped_column(EncryptedType(Date, index=[BORN]))

    vault.create()
    vault.keyring.warm(["acme"], ["randomized", "search"], new=True)
    return Person


@pytest.mark.parametrize("driver", ALL, indirect=True)
def test_rows_are_found_as_those_of_the_orm(vault: Vault, person: Any, driver: str) -> None:
    made = Driver(vault, driver)
    connection, mark = made.wrapped(), made.mark
    cursor = connection.cursor()
    insert = "INSERT INTO people (id, clinic, last, born) VALUES (?, 'acme', ?, ?), (?, 'acme', ?, NULL)"
    cursor.execute(mark(insert), (1, "Harris", date(1980, 1, 1), 2, "Tanaka"))
    cursor.execute(mark("UPDATE people SET born = ? WHERE id = ?"), (date(2001, 2, 3), 2))
    connection.commit()
    for criteria, values, expected in (
        ("last = ?", ("Harris",), [1]),
        ("p.last IN (?, ?) AND id > 0", ("Harris", "Tanaka"), [1, 2]),
        ("born > ?", (date(1990, 1, 1),), [2]),
        ("p.born BETWEEN ? AND ?", (date(1979, 1, 1), date(1981, 1, 1)), [1]),
        ("NOT (last = ?)", ("Harris",), [2]),
        ("last = ?", (None,), []),
        *(ANY if vault.engine.name == "postgresql" else ()),
    ):
        cursor.execute(
            mark(f"SELECT id, last FROM people p WHERE clinic = ? AND {criteria} ORDER BY id"),
            ("acme", *values),
        )
        assert [row[0] for row in cursor.fetchall()] == expected
    with pytest.raises(UnsupportedOperation, match=r"people\.c\.last\.like"):
        cursor.execute(mark("SELECT id FROM people WHERE clinic = 'acme' AND last LIKE ?"), ("%anak%",))
    with pytest.raises(TenantRequired):
        cursor.execute(mark("SELECT id FROM people WHERE last = ?"), ("Harris",))
    with tenant_scope("acme"):
        cursor.execute(mark("UPDATE people SET last = ? WHERE id = 1 AND last = ?"), ("Harriet", "Harris"))
        assert cursor.rowcount == 1
        cursor.execute(mark("UPDATE people SET last = ? WHERE id = 1 AND last = ?"), ("Harris", "Harriet"))
        cursor.execute(mark("DELETE FROM people WHERE last = ?"), ("nobody",))
        assert cursor.rowcount == 0
    connection.commit()
    made.close()
    mine = person.clinic == "acme"
    for criteria, expected in (
        (person.last == "Harris", [1]),
        (person.last.contains("anak"), [2]),
        (person.born > date(1990, 1, 1), [2]),
        ((person.last == "Tanaka") & (person.born == date(2001, 2, 3)), [2]),
        ((person.last == "Harris") & (person.born == date(2001, 2, 3)), []),
    ):
        with vault.session() as session:
            assert [one.id for one in session.scalars(select(person).where(mine, criteria))] == expected
