"""People who do not exist, with the skew of those who do."""

import datetime as dt
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from faker.providers.person.en_US import Provider

TODAY = dt.date(2026, 1, 1)
DAYS_A_YEAR = 365.25
# Of five years each, from the youngest on, in percent: a population that grows old.
_AGES = (5.4, 5.9, 6.2, 6.5, 6.6, 6.6, 6.9, 6.8, 6.7, 6.1, 6.2, 6.2, 6.4, 5.8, 4.9, 3.6, 2.2, 1.2, 0.6, 0.2)
_WEEKDAYS = (1.04, 1.13, 1.12, 1.12, 1.10, 0.80, 0.69)
_MONTHS = (0.97, 0.96, 0.97, 0.97, 0.99, 1.01, 1.05, 1.06, 1.05, 1.01, 0.98, 0.98)
_MEDIAN, _SPREAD = 60_000, 1.0


class Person(NamedTuple):
    """One row."""

    born: dt.date
    amount: int
    first: str
    last: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


def people(count: int, random: Random) -> list[Person]:
    """Draw people.

    Dates of birth follow ages, months and weekdays. Amounts, such as incomes, are lognormal and often round.
    Names are drawn from Faker's lists by their frequencies.
    """
    names = [random.choices(list(table), list(table.values()), k=count) for table in _tables()]
    rows = zip(_births(count, random), _amounts(count, random), *names, strict=True)
    return [Person(*row) for row in rows]


def _tables() -> tuple[dict[str, float], dict[str, float]]:
    return dict(Provider.first_names), dict(Provider.last_names)


def _births(count: int, random: Random) -> list[dt.date]:
    days = [TODAY - dt.timedelta(days=at) for at in range(1, round(len(_AGES) * 5 * DAYS_A_YEAR) + 1)]
    weights = [
        _AGES[min(int(at / DAYS_A_YEAR / 5), len(_AGES) - 1)]
        * _WEEKDAYS[day.weekday()]
        * _MONTHS[day.month - 1]
        for at, day in enumerate(days)
    ]
    return random.choices(days, weights, k=count)


def _amounts(count: int, random: Random) -> Sequence[int]:
    found = []
    for _ in range(count):
        amount = round(_MEDIAN * random.lognormvariate(0, _SPREAD))
        rounded = random.choices((1, 100, 1000, 5000), (60, 15, 15, 10))[0]
        found.append(max(1, round(amount / rounded)) * rounded)
    return found
