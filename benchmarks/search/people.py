"""Invented people, the same at each run, whose names are as unevenly common as real ones."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from faker.providers.person.en_US import Provider

FIRST_BIRTH, LAST_BIRTH = date(1925, 1, 1), date(2025, 12, 31)


class Person(NamedTuple):
    """One row: the name is last name, first name and a middle initial."""

    id: int
    email: str
    name: str
    born: date


def people(count: int, seed: int = 14) -> Iterator[Person]:
    """Yield so many people."""
    random = Random(seed)
    first, last = dict(Provider.first_names), dict(Provider.last_names)
    days = (LAST_BIRTH - FIRST_BIRTH).days
    given = random.choices(list(first), list(first.values()), k=count)
    family = random.choices(list(last), list(last.values()), k=count)
    for number, (one, other) in enumerate(zip(given, family, strict=True), 1):
        name = f"{other}, {one} {random.choice('ABCDEFGHJKLMNPRSTW')}."
        # A hundred people share an address on purpose: a question with 100 results.
        email = f"{one}.{other}.{number if number % 100 else number // 10_000}@example.org".lower()
        if number % 100 == 0:
            email = f"family.{number // 10_000}@example.org"
        yield Person(number, email, name, FIRST_BIRTH + timedelta(days=random.randrange(days)))
