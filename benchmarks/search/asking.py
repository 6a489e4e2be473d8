"""What questions cost, with their results opened, against the same questions about the plaintext twin."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select, text
from sqlalchemy.orm import Session, load_only

from benchmarks.search.people import FIRST_BIRTH, LAST_BIRTH, Person
from benchmarks.search.twins import TENANT, Twins
from benchmarks.tenants.figure import Figure

ABOUT = range(60, 160)
NEEDLES = 20

Ask = Callable[[Any, Any], ColumnElement[bool]]


@dataclass(frozen=True)
class Question:
    """A question that both twins are asked.

    Attributes:
        name: what is asked.
        column: the column that is asked about, and loaded.
        needles: the values that are asked for, in turn.
        sealed: given the sealed model and a value, the criterion.
        plain: the same for the twin, as its best index answers it.
        limit: how many rows are taken; ``None`` for all.
    """

    name: str
    column: str
    needles: list[Any]
    sealed: Ask
    plain: Ask
    limit: int | None = None

    def ratios(self, twins: Twins, rounds: int) -> dict[str, float]:
        """Return the median time of the sealed table's answers by that of the twin's, by ORM and by Core."""
        asked = {"sealed": (twins.Sealed, self.sealed), "plain": (twins.Plain, self.plain)}
        seconds: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds + 1):
            for needle in self.needles:
                for way, find in (("ORM", self._objects), ("Core", self._rows)):
                    counts = set()
                    for twin in asked if number % 2 else reversed(asked):
                        model, ask = asked[twin]
                        start = perf_counter()
                        counts.add(find(twins, model, ask(model, needle)))
                        if number:
                            seconds.setdefault((way, twin), []).append(perf_counter() - start)
                    assert len(counts) == 1, f"{self.name}: {counts} rows for one question"
        return {
            way: median(seconds[way, "sealed"]) / median(seconds[way, "plain"]) for way in ("ORM", "Core")
        }

    def _objects(self, twins: Twins, model: Any, criterion: ColumnElement[bool]) -> int:
        statement = select(model).options(load_only(model.clinic, getattr(model, self.column)))
        with Session(twins.engine) as session:
            where = model.clinic == TENANT, criterion
            return len(session.scalars(statement.where(*where).limit(self.limit)).all())

    def _rows(self, twins: Twins, model: Any, criterion: ColumnElement[bool]) -> int:
        table = model.__table__
        statement = select(table.c.id, table.c.clinic, table.c[self.column])
        with twins.engine.connect() as connection:
            where = table.c.clinic == TENANT, criterion
            return len(connection.execute(statement.where(*where).limit(self.limit)).all())


def questions(twins: Twins, rows: list[Person]) -> Iterator[Question]:
    """Yield the questions, with values that are in the table."""
    random = Random(3)
    emails = [one.email for one in random.sample(rows, NEEDLES) if not one.email.startswith("family")]
    families = [f"family.{number}@example.org" for number in range(min(NEEDLES, len(rows) // 10_000))]

    def same(model: Any, needle: Any) -> ColumnElement[bool]:
        return model.email == needle

    yield Question("equality, 1 result", "email", emails, same, same)
    yield Question("equality, 100 results", "email", families, same, same)
    begins = list(_prefixes(twins, rows, random))
    yield Question(
        "prefix, about 100 results",
        "name",
        begins,
        lambda model, needle: model.name.istartswith(needle, autoescape=True),
        lambda model, needle: _begins(twins, model, needle),
    )
    days = (LAST_BIRTH - FIRST_BIRTH).days
    width = max(1, round(100 * days / len(rows)))
    starts = [FIRST_BIRTH + timedelta(days=random.randrange(days - width)) for _ in range(NEEDLES)]

    def between(model: Any, needle: Any) -> ColumnElement[bool]:
        return model.born.between(*needle)

    narrow = [(one, one + timedelta(days=width - 1)) for one in starts]
    yield Question("range, about 100 results", "born", narrow, between, between)
    wide = [
        (FIRST_BIRTH + timedelta(days=n), FIRST_BIRTH + timedelta(days=n + days // 3)) for n in range(NEEDLES)
    ]
    yield Question("range, a third of the table, LIMIT 100", "born", wide, between, between, 100)
    parts = list(_parts_of_names(twins, rows, random))
    yield Question(
        "substring, rechecked",
        "name",
        parts,
        lambda model, needle: model.name.icontains(needle, autoescape=True),
        lambda model, needle: _contains(twins, model, needle),
    )


def _begins(twins: Twins, model: Any, needle: str) -> ColumnElement[bool]:
    if twins.kind == "postgresql":
        return func.lower(model.name).startswith(needle.lower(), autoescape=True)
    return model.name.startswith(needle, autoescape=True)


def _contains(twins: Twins, model: Any, needle: str) -> ColumnElement[bool]:
    if twins.kind == "postgresql":
        return func.lower(model.name).contains(needle.lower(), autoescape=True)
    if twins.kind == "sqlite":
        quoted = '"' + needle.replace('"', '""') + '"'
        grams = (
            select(literal_column("rowid"))
            .select_from(text("plain_grams"))
            .where(text("plain_grams MATCH :needle").bindparams(needle=quoted))
        )
        return model.id.in_(grams)
    return model.name.contains(needle, autoescape=True)


def _count(twins: Twins, criterion: ColumnElement[bool]) -> int:
    with Session(twins.engine) as session:
        return session.scalar(select(func.count()).select_from(twins.Plain).where(criterion)) or 0


def _prefixes(twins: Twins, rows: list[Person], random: Random) -> Iterator[str]:
    kept: set[str] = set()
    for one in random.sample(rows, min(len(rows), 400)):
        for length in range(2, 13):
            count = _count(twins, _begins(twins, twins.Plain, one.name[:length]))
            if count in ABOUT:
                kept.add(one.name[:length])
            if count < ABOUT.stop:
                break
        if len(kept) == NEEDLES:
            break
    yield from sorted(kept)


def _parts_of_names(twins: Twins, rows: list[Person], random: Random) -> Iterator[str]:
    kept: set[str] = set()
    for one in random.sample(rows, min(len(rows), 400)):
        at, length = random.randrange(4), random.randrange(5, 9)
        part = one.name[at : at + length]
        if len(part) == length and _count(twins, _contains(twins, twins.Plain, part)) in ABOUT:
            kept.add(part)
        if len(kept) == NEEDLES:
            break
    yield from sorted(kept)


def answers(twins: Twins, rows: list[Person], rounds: int, targets: dict[str, float]) -> Iterator[Figure]:
    """Yield what each question costs: judged where objects are loaded, and shown for rows of Core."""
    for question in questions(twins, rows):
        if question.needles:
            for way, ratio in question.ratios(twins, rounds).items():
                target = targets.get(question.name) if way == "ORM" else None
                yield Figure(f"{question.name}, {way}, {twins.kind}", target, ratio)
