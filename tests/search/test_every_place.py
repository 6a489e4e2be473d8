"""Exact answers stand wherever a condition does: the same rows as of a plain twin, by every way of asking."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Date, Integer, String, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.search import Exact, Ordered, Prefix, Range, Suffix, fold
from tests.search.questions import ORDERED, QUESTIONS, ROWS, SPRING, Question
from tests.search.twin import PLAIN_TEXT, Twins
from tests.support.vault import Vault

_FIRST, _LAST = SPRING.replace(year=1900, month=1), SPRING.replace(year=2100)
_ASYNC = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@pytest.fixture
def twins(vault: Vault) -> Iterator[Twins]:
    both = [Exact(), Exact(normalize=fold, name="folded")]
    text = [Prefix(min=1, normalize=None), Suffix(min=1, normalize=None)]
    sealed = {
        "mail": EncryptedType(String(80), index=both, context="mail"),
        "other": EncryptedType(String(80), index=[Exact()], context="mail"),
        "name": EncryptedType(String(80), index=text),
        "born": EncryptedType(Date, index=[Range(_FIRST, _LAST)]),
        "age": EncryptedType(Integer, index=[Ordered(0, 200)]),
    }
    plain = {"mail": PLAIN_TEXT, "other": PLAIN_TEXT, "name": PLAIN_TEXT, "born": Date(), "age": Integer()}
    twins = Twins(vault, sealed, plain)
    twins.add(ROWS, ROWS)
    yield twins
    twins.session.close()


def _asked(session: Any, model: Any, ask: Question) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in session.execute(ask(model))]


def test_every_question_gives_the_rows_of_the_twin(twins: Twins) -> None:
    for name, ask in (QUESTIONS | ORDERED).items():
        expected, found = (_asked(twins.session, model, ask) for model in (twins.Plain, twins.Sealed))
        if name in QUESTIONS:
            found, expected = sorted(found), sorted(expected)
        assert found == expected, name


@pytest.mark.parametrize("database", _ASYNC, indirect=True)
def test_asynchronous_sessions_and_streams_give_the_same(twins: Twins) -> None:
    url = twins.vault.engine.url
    expected = {name: _asked(twins.session, twins.Plain, ask) for name, ask in (QUESTIONS | ORDERED).items()}
    twins.session.close()

    async def run() -> None:
        engine = create_async_engine(url.set(drivername=_ASYNC[url.get_backend_name()]))
        async with AsyncSession(engine) as session:
            for name, ask in (QUESTIONS | ORDERED).items():
                statement = ask(twins.Sealed)
                found = [tuple(row) for row in await session.execute(statement)]
                result = await session.stream(statement, execution_options={"yield_per": 2})
                streamed = [tuple(row) async for row in result]
                if name in QUESTIONS:
                    found, streamed = sorted(found), sorted(streamed)
                    expected[name].sort()
                assert found == streamed == expected[name], name
        await engine.dispose()

    asyncio.run(run())


def test_entities_and_queries_are_found_in_batches_and_pages(twins: Twins) -> None:
    P, session = twins.Sealed, twins.session
    asked = select(P).where(P.mail == "ann@x").order_by(P.id)
    assert [one.age for one in session.scalars(asked.execution_options(yield_per=1))] == [30, None]
    assert [one.id for one in session.scalars(asked.limit(1).offset(1))] == [4]
    query = session.query(P).filter(P.mail == "ann@x", P.born >= SPRING).order_by(P.id)
    assert [one.id for one in query] == [1, 4]
    assert (query.count(), query.first().id, query.limit(1).offset(1).one().id) == (2, 1, 4)
    assert session.query(query.exists()).scalar() is True
    assert session.query(P.id).filter(func.lower(P.mail) == "bob@x").scalar() == 2
    assert session.scalar(select(exists().where(P.name.startswith("zz")))) is False
    query = query.order_by(None)
    assert query.filter(P.age == 30).update({"age": 31}) == 1
    assert query.filter(P.age == 31).delete() == 1


def test_what_update_and_delete_name_is_what_they_change(twins: Twins) -> None:
    for model in (twins.Sealed, twins.Plain):
        session, inner = twins.session, select(model.id).where(func.lower(model.mail) == "bob@x")
        for statement in (
            update(model).where(func.lower(model.mail) == "ann@x", model.age >= 30).values(name="x"),
            update(model).where(model.id.in_(inner)).values(age=7),
            update(model).where(model.born < SPRING, model.age.is_not(None)).values(mail=None, born=SPRING),
            delete(model).where(model.name.startswith("jo")),
        ):
            assert session.execute(statement).rowcount == 1
    session.commit()
    columns = "id", "mail", "other", "name", "born", "age"
    sealed, plain = (
        session.execute(select(*(getattr(model, one) for one in columns)).order_by(model.id)).all()
        for model in (twins.Sealed, twins.Plain)
    )
    assert sealed == plain


def test_what_an_index_has_no_tokens_of_is_refused(twins: Twins) -> None:
    P = twins.Sealed
    inner = select(P).subquery()
    for statement, reason in (
        (select(P.id).where(P.mail.in_(select(P.other))), "no tokens of what a SELECT gives"),
        (select(P.id).where(P.mail == select(P.other).limit(1).scalar_subquery()), "compare inside"),
        (select(inner.c.id).where(inner.c.mail == "ann@x"), "compare inside the subquery"),
        (select(inner.c.id).order_by(inner.c.age), "no useful order"),
        (select(P.id, P.age).union_all(select(P.id, P.age)).order_by("age"), "no useful order"),
        (select(P.id).where(P.mail == P.name), "Exact|compared"),
        (select(P.id).where(P.born < P.born), "Range|no meaning"),
    ):
        with pytest.raises(UnsupportedOperation, match=reason):
            twins.session.execute(statement)
