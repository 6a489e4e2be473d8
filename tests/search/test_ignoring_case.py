"""Equality of folded texts, however it is written, against the same question on a plain twin."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import (
    Integer,
    String,
    bindparam,
    delete,
    desc,
    func,
    lambda_stmt,
    not_,
    nulls_last,
    or_,
    select,
    update,
)

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.search import Exact, Ordered, Prefix, Range, fold
from tests.search.twin import PLAIN_TEXT, Twins
from tests.support.vault import Vault

TEXTS = [
    None,
    "",
    "a",
    "A",
    "ab",
    "aB",
    "%",
    "a%",
    "STRASSE",
    "straße",
    "\u0131",
    "İ",
    "i\u0307",
    "é",
    "e\u0301",
]


@pytest.fixture
def twins(vault: Vault) -> Iterator[Twins]:
    index = [Exact(normalize=fold), Prefix(min=1)]
    twins = Twins(vault, {"mail": EncryptedType(String(80), index=index)}, {"mail": PLAIN_TEXT})
    texts = TEXTS * 2
    twins.add([{"mail": one} for one in texts], [{"mail": one and fold(one)} for one in texts])
    yield twins
    twins.session.close()


# The question to the sealed column, and that to the twin, whose texts are folded.
WAYS: list[Any] = [
    (lambda c, x: c.iequals(x), lambda c, x: c == x),
    (lambda c, x: ~c.iequals(x), lambda c, x: c != x),
    (lambda c, x: func.lower(c) == x, lambda c, x: c == x),
    (lambda c, x: func.lower(c) == func.lower(x), lambda c, x: c == x),
    (lambda c, x: func.lower(c) != x, lambda c, x: c != x),
    (lambda c, x: func.lower(c).in_([x, "ab"]), lambda c, x: c.in_([x, "ab"])),
    (lambda c, x: func.lower(c).not_in([x, "ab"]), lambda c, x: c.not_in([x, "ab"])),
    (lambda c, x: or_(not_(func.lower(c) == x), c.is_(None)), lambda c, x: or_(c != x, c.is_(None))),
    (lambda c, x: c.ilike(x.replace("%", "/%"), escape="/"), lambda c, x: c == x),
    (lambda c, x: c.not_ilike(x.replace("%", "/%"), escape="/"), lambda c, x: c != x),
    (lambda c, x: func.lower(c).like(x.replace("%", "/%"), escape="/"), lambda c, x: c == x),
    (lambda c, x: func.lower(c).startswith("a"), lambda c, x: func.substr(c, 1, 1) == "a"),
]


def test_texts_are_equal_once_both_are_folded(twins: Twins) -> None:
    def check(asked: tuple[int, str]) -> None:
        number, text = asked
        ask, ask_twin = WAYS[number]
        assert twins.sealed(ask(twins.Sealed.mail, text)) == twins.plain(
            ask_twin(twins.Plain.mail, fold(text))
        )

    texts = st.one_of(st.sampled_from(TEXTS[1:]), st.text("aAbB%ßİ\u0131e\u0301", max_size=3))
    twins.check_all(check, st.tuples(st.sampled_from(range(len(WAYS))), texts), times=2)


def test_values_may_be_known_only_when_the_statement_is_executed(twins: Twins) -> None:
    Sealed, session = twins.Sealed, twins.session
    for ask in (
        lambda c: c.iequals(bindparam("mail")),
        lambda c: func.lower(c) == bindparam("mail"),
        lambda c: func.lower(c).in_(bindparam("mail", expanding=True)),
    ):
        statement = select(Sealed.id).where(ask(Sealed.mail)).order_by(Sealed.id)
        for text in ("AB", "Strasse", "x"):
            given = [text] if "POSTCOMPILE" in str(statement) else text
            expected = twins.sealed(Sealed.mail.iequals(text))
            assert session.scalars(statement, {"mail": given}).all() == expected

    def by_lambda(text: str) -> list[int]:
        return sorted(
            session.scalars(lambda_stmt(lambda: select(Sealed.id).where(Sealed.mail.iequals(text))))
        )

    assert [len(by_lambda(text)) for text in ("AB", "x", "strasse")] == [4, 0, 4]


def test_rows_are_counted_changed_and_deleted_by_their_lower_case(twins: Twins) -> None:
    Sealed, session = twins.Sealed, twins.session
    lower = func.lower(Sealed.mail) == "ab"
    assert session.scalar(select(func.count()).select_from(Sealed).where(lower)) == 4
    assert session.query(Sealed).filter(Sealed.mail.iequals("aB"), Sealed.id > 0).count() == 4
    assert len(session.query(Sealed).filter(lower, Sealed.id > 0).all()) == 4
    assert session.execute(update(Sealed).where(lower).values(mail="New")).rowcount == 4
    assert session.execute(delete(Sealed).where(func.lower(Sealed.mail) == "new")).rowcount == 4
    session.rollback()


def test_where_lower_case_is_not_seen_it_is_refused(twins: Twins) -> None:
    Sealed = twins.Sealed
    for statement in (
        select(func.lower(Sealed.mail) == "ab"),
        select(Sealed.id).where(func.upper(Sealed.mail) == "AB"),
        select(Sealed.id).where(func.lower(Sealed.mail) < "ab"),
    ):
        with pytest.raises(UnsupportedOperation) as refused:
            twins.session.execute(statement)
        assert "column.iequals(value)" in str(refused.value.index)


def test_a_plain_order_by_is_answered_by_ordered_alone(make_vault: Any) -> None:
    types = {
        "rank": EncryptedType(Integer, index=[Ordered(0, 9)]),
        "age": EncryptedType(Integer, index=[Range(0, 9)]),
    }
    twins = Twins(make_vault(), types, dict.fromkeys(types, Integer()))
    rows = [{"rank": number, "age": number} for number in (3, None, 1, 7, 0, 9)]
    twins.add(rows, rows)
    Sealed, Plain = twins.Sealed, twins.Plain
    for sealed, plain in (
        (Sealed.rank, Plain.rank),
        (desc(Sealed.rank), desc(Plain.rank)),
        (nulls_last(desc(Sealed.rank)), nulls_last(desc(Plain.rank))),
        (Sealed.rank.asc().nulls_last(), Plain.rank.asc().nulls_last()),
    ):
        assert twins.sealed(Sealed.id > 0, sealed) == twins.plain(Plain.id > 0, plain)
    for refused in (Sealed.age, desc(Sealed.age), Sealed.age.desc()):
        assert isinstance(twins.sealed(Sealed.id > 0, refused), str)
    twins.session.close()
