"""``min`` and ``max`` of columns with ``Ordered``, against the same question on a plain twin."""

from datetime import date
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import Date, String, func, select
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.search import Ordered, Range
from tests.search.twin import Twins
from tests.support.vault import Vault

FIRST, LAST = date(1900, 1, 1), date(2100, 1, 1)


def test_the_least_and_the_greatest_value_are_those_of_the_twin(vault: Vault) -> None:
    twins = Twins(vault, {"born": EncryptedType(Date, index=[Ordered(FIRST, LAST)])}, {"born": Date()})
    rows = [
        {"born": one} for one in (date(1980, 5, 4), None, FIRST, LAST, date(1980, 5, 4), date(2026, 1, 1))
    ]
    twins.add(rows, rows)

    def check(asked: tuple[str, int, int]) -> None:
        name, low, high = asked

        def found(model: Any) -> Any:
            statement = select(getattr(func, name)(model.born)).where(model.id.between(low, high))
            return twins.session.execute(statement).one()

        assert tuple(found(twins.Sealed)) == tuple(found(twins.Plain))

    twins.check_all(check, st.tuples(st.sampled_from(["min", "max"]), st.integers(0, 7), st.integers(0, 7)))
    twins.session.close()


@pytest.fixture
def people(make_vault: Any) -> Any:
    vault: Vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(9))
        born: Mapped[date] = mapped_column(EncryptedType(Date, index=[Ordered(FIRST, LAST)]))
        moved: Mapped[date] = mapped_column(EncryptedType(Date, index=[Range(FIRST, LAST)]))

    vault.create()
    with vault.session() as session:
        for owner, year in (("acme", 1980), ("acme", 1990), ("globex", 1950)):
            session.add(Person(owner=owner, born=date(year, 1, 1), moved=LAST))
        session.commit()
    return vault, Person


def test_they_are_of_the_tenant_that_the_statement_or_the_scope_names(people: Any) -> None:
    vault, Person = people
    other = aliased(Person)
    with vault.session() as session:
        acme = Person.owner == "acme"
        assert session.scalar(select(func.min(Person.born)).where(acme)) == date(1980, 1, 1)
        assert (
            session.execute(select(func.max(Person.born).label("last")).where(acme)).one().last.year == 1990
        )
        with tenant_scope("globex"):
            theirs = select(func.max(other.born)).where(other.owner == "globex")
            assert session.scalar(theirs) == date(1950, 1, 1)
        with tenant_scope("acme"):
            assert session.query(func.min(Person.born)).filter(acme).scalar() == date(1980, 1, 1)
            oldest = select(func.min(other.born)).where(other.owner == "acme").scalar_subquery()
            assert session.scalar(select(oldest)) == date(1980, 1, 1)


def test_beside_anything_else_they_are_refused(people: Any) -> None:
    vault, Person = people
    acme = Person.owner == "acme"
    for statement in (
        select(func.min(Person.moved)).where(acme),
        select(func.min(Person.born), func.max(Person.born)).where(acme),
        select(func.min(Person.born)).where(acme).group_by(Person.id),
        select(func.min(Person.born).over()).where(acme),
        select(Person.id).where(acme).group_by(Person.id).having(func.min(Person.born) == FIRST),
        select(Person.id).where(acme).order_by(func.max(Person.born)),
    ):
        with vault.session() as session, pytest.raises(UnsupportedOperation, match=r"[Oo]rdered"):
            session.execute(statement)
