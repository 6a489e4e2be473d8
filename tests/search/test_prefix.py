"""Prefix and Suffix: what begins and ends with a text, against the same question on a plain twin."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    bindparam,
    delete,
    func,
    lambda_stmt,
    select,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column, with_loader_criteria

from sqlalchemy_cmk import ConfigurationError, EncryptedType, InvalidValue, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.search import Prefix, Suffix, fold
from tests.search.twin import NO_ESCAPE, PLAIN_TEXT, Twins
from tests.support.vault import Vault

MAX = 4
ALPHABET = "aAbBsSß\u0131İiI\u0301\u0308éÉ漢字😀%_/\\ ﬁ\u212a"
TEXTS = [
    *(None, "", "a", "A", "ab", "Ab", "aB", "abab", "%", "%_", "a%b", "a_b", "/%", "\\%", "a\\", "  ", " a"),
    *("STRASSE", "straße", "Strasse", "ﬁne", "FINE", "fine", "I", "\u0131", "İ", "i\u0307", "e\u0301", "é"),
    *(
        "漢字",
        "漢字かな",
        "漢",
        "😀",
        "😀a",
        "\u212aelvin",
        "kelvin",
        "a\u0308",
        "ä",
        "abcdefghijkl",
        "ABCDEFGH",
    ),
]
# Each way to ask: whether case is ignored, the wildcards around the needle, and its method.
WAYS = [
    (bool(i), before, after, f"{i}{method}")
    for method, before, after in (("startswith", "", "%"), ("endswith", "%", ""))
    for i in ("", "i")
]


@pytest.fixture
def twins(vault: Vault) -> Iterator[Twins]:
    def sealed(**options: Any) -> EncryptedType:
        indexes = [Prefix(min=1, max=MAX, **options), Suffix(min=1, max=MAX, **options)]
        return EncryptedType(String(80), index=indexes)

    twins = Twins(
        vault,
        {"folded": sealed(), "exact": sealed(normalize=None)},
        {"folded": PLAIN_TEXT, "exact": PLAIN_TEXT},
    )
    texts = TEXTS * 2
    twins.add(
        [{"folded": one, "exact": one} for one in texts],
        [{"folded": one and fold(one), "exact": one} for one in texts],
    )
    yield twins
    twins.session.close()


def check(twins: Twins, ignores_case: bool, ask: Any, pattern: str, escape: str | None) -> None:
    """Compare an answer with that of the twin, whose folded texts are asked a folded pattern."""
    key = "folded" if ignores_case else "exact"
    ours, theirs = ask(getattr(twins.Sealed, key)), getattr(twins.Plain, key)
    written = folded(pattern, escape) if ignores_case else pattern
    theirs = theirs.like(written, escape=escape or NO_ESCAPE)
    for asked, expected in ((ours, theirs), (~ours, ~theirs)):
        found = twins.sealed(asked)
        if isinstance(found, str):
            assert not is_exact(written, escape), (pattern, found)
        else:
            assert found == twins.plain(expected), pattern


def folded(pattern: str, escape: str | None) -> str:
    """A pattern whose texts between wildcards are folded one by one."""
    made, text, characters = "", "", iter(f"{pattern}%")
    for one in characters:
        if one == escape:
            text += next(characters)
        elif one in "%_":
            made, text = made + escaped(fold(text), escape) + one, ""
        else:
            text += one
    return made[:-1]


def escaped(text: str, escape: str | None) -> str:
    return "".join(f"{escape}{one}" if escape and one in ("%", "_", escape) else one for one in text)


def is_exact(pattern: str, escape: str | None) -> bool:
    """Whether a pattern has one wildcard, at its begin or end, and a text that the index knows whole."""
    marked = pattern
    for one in ("%", "_", escape) if escape else ():
        marked = marked.replace(f"{escape}{one}", "x")
    text = marked.removeprefix("%") if marked.startswith("%") else marked.removesuffix("%")
    return text != marked and 1 <= len(text) <= MAX and not set(text) & set("%_")


def test_what_begins_and_ends_is_found_as_in_plain_text(twins: Twins) -> None:
    def as_methods(needle: str) -> None:
        for ignores_case, before, after, name in WAYS:
            pattern = f"{before}{escaped(needle, '/')}{after}"
            check(
                twins,
                ignores_case,
                lambda c, name=name: getattr(c, name)(needle, autoescape=True),
                pattern,
                "/",
            )
            check(
                twins,
                ignores_case,
                lambda c, name=name: getattr(c, name)(needle),
                f"{before}{needle}{after}",
                None,
            )

    twins.check_all(as_methods, st.text(ALPHABET, max_size=MAX + 1))


def test_like_is_answered_as_in_plain_text(twins: Twins) -> None:
    def as_like(pattern: str) -> None:
        check(twins, False, lambda c: c.like(pattern), pattern, None)
        check(twins, True, lambda c: c.ilike(pattern), pattern, None)
        check(twins, True, lambda c: c.ilike(escaped(pattern, "/"), escape="/"), escaped(pattern, "/"), "/")

    text = st.text(ALPHABET, max_size=MAX + 1)
    twins.check_all(as_like, st.one_of(text, text.map("{}%".format), text.map("%{}".format)))


def test_the_database_searches_the_index(twins: Twins) -> None:
    for criterion, name in (
        (twins.Sealed.folded.istartswith("ab"), "folded_prefix"),
        (twins.Sealed.exact.endswith("ab"), "exact_suffix"),
    ):
        assert f"ix_sealed_{name}" in twins.plan(criterion)


def test_values_may_be_known_only_when_the_statement_is_executed(twins: Twins) -> None:
    Sealed, session = twins.Sealed, twins.session
    named = select(Sealed.id).where(
        Sealed.exact.startswith(bindparam("begin")), Sealed.folded.iendswith(bindparam("end"))
    )

    def by_name(begin: Any, end: Any) -> list[int]:
        return sorted(session.scalars(named, {"begin": begin, "end": end}))

    def by_lambda(begin: str, end: str) -> list[int]:
        statement = lambda_stmt(
            lambda: select(Sealed.id).where(Sealed.exact.startswith(begin), Sealed.folded.iendswith(end))
        )
        return sorted(session.scalars(statement))

    def by_criteria(begin: str, end: str) -> list[int]:
        criteria = with_loader_criteria(Sealed, lambda cls: cls.exact.startswith(begin))
        return sorted(
            one.id
            for one in session.scalars(select(Sealed).where(Sealed.folded.iendswith(end)).options(criteria))
        )

    for begin, end in (("a", "b"), ("A", "B"), ("abc", "L"), ("x", "y")):
        criterion = Sealed.exact.startswith(begin) & Sealed.folded.iendswith(end)
        expected = twins.sealed(criterion)
        assert by_name(begin, end) == by_lambda(begin, end) == by_criteria(begin, end) == expected
    assert by_name(None, "a") == []
    for begin in ("a%b", "abcde", ["a"]):
        with pytest.raises(InvalidValue) as refused:
            by_name(begin, "a")
        assert "abcde" not in str(refused.value)


def test_the_answer_is_exact_wherever_a_condition_stands(twins: Twins) -> None:
    Sealed, session = twins.Sealed, twins.session
    begins = Sealed.folded.istartswith("ab")
    number = len(twins.sealed(begins))
    assert number > 2
    assert session.scalar(select(func.count()).where(begins)) == number
    assert session.scalar(select(begins).where(Sealed.id == 5)) == 1
    assert session.query(Sealed).filter(begins).count() == number
    inner = select(Sealed.id).where(begins)
    assert len(session.scalars(select(Sealed.id).where(Sealed.id.in_(inner))).all()) == number
    assert session.scalar(select(inner.exists())) in (True, 1)
    other = aliased(Sealed)
    assert len(session.scalars(select(other.id).where(other.folded.istartswith("ab"))).all()) == number
    assert session.execute(update(Sealed).where(begins).values(exact="new")).rowcount == number
    assert len(twins.sealed(Sealed.exact.startswith("new"))) == number
    assert session.execute(delete(Sealed).where(Sealed.exact.startswith("new"))).rowcount == number
    session.rollback()


REFUSED: list[tuple[Any, str]] = [
    (lambda c: c.istartswith("ab"), "the index Prefix(min=3) knows 3 characters and more"),
    (lambda c: c.ilike(bindparam("x")), "LIKE with a pattern that is not known yet"),
    (lambda c: c.not_like("abcd%"), "Prefix finds candidates for this query"),
    (lambda c: c.istartswith(7), "a text is compared with a text, not with int"),
    (lambda c: c.ilike("a/bcd%", escape="/"), "the escape character stands before"),
    (lambda c: c.iendswith("abcd"), "IENDSWITH has no meaning"),
    (lambda c: c.istartswith(c), "ISTARTSWITH has no meaning"),
    (lambda c: select(c.table).subquery().c.name.istartswith("abc"), "this expression is of a subquery"),
]


@pytest.mark.parametrize(("ask", "says"), REFUSED)
def test_what_the_index_does_not_answer_is_refused_when_it_is_compiled(ask: Any, says: str) -> None:
    indexed = EncryptedType(String(80), index=[Prefix(min=3)])
    people = Table("people", MetaData(), Column("id", Integer, primary_key=True), Column("name", indexed))
    asked = ask(people.c.name)
    with pytest.raises(UnsupportedOperation) as refused:
        select(people.c.id).where(asked).compile()
    assert says in str(refused.value)
    assert "abc" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [{"min": 0}, {"min": 3, "max": 2}, {"max": 256}, {"width": 33}, {"min": "2"}, {"max": 255, "width": 8}],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Prefix(**options)


@pytest.mark.parametrize("kind", [Prefix, Suffix])
def test_only_texts_are_indexed(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="only texts begin and end"):
        Table("people", MetaData(), Column("age", EncryptedType(Integer, index=[kind()])))


def test_a_decorated_text_that_is_not_converted_is_a_text() -> None:
    class Name(TypeDecorator[str]):
        impl = String
        cache_ok = True

    class Upper(Name):
        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return value.upper()

    Table("people", MetaData(), Column("name", EncryptedType(Name(), index=[Prefix()])))
    with pytest.raises(ConfigurationError, match="only texts begin and end"):
        Table("people", MetaData(), Column("name", EncryptedType(Upper(), index=[Prefix()])))


def test_a_question_of_one_tenant_finds_no_row_of_another(make_vault: Any) -> None:
    vault: Vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str]
        name: Mapped[str] = mapped_column(EncryptedType(String(80), index=[Prefix(min=1)]))

    vault.create()
    with vault.session() as session:
        session.add_all([Person(clinic=f"clinic {n}", name="Harris") for n in range(20)])
        session.commit()
        for needle in ("", "h", "harris"):
            with tenant_scope("clinic 7"):
                statement = select(Person.clinic).where(Person.name.istartswith(needle))
                assert session.scalars(statement).all() == ["clinic 7"]
