"""Invented people: the same at each first start, and nobody who exists."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random

GIVEN = """
    Amara Benedikt Clara Dinesh Edith Farid Greta Henrik Ines Jonas Keiko Lucia Marek Nadia Oskar Priya
    Quentin Rosa Samir Tilda Umar Vera Wanda Xenia Yusuf Zofia Aoife Björn Chidi Dolores Emil Fatima
    Gustav Hana Ivo Jelena Kofi Linnea Matteo Noor
""".split()  # noqa: SIM905  a list would be a page
FAMILY = """
    Abernathy Bergström Castellano Delacroix Eriksen Fairweather Grünwald Halloran Ibarra Jankowski
    Kettering Lindqvist Marchetti Nakamura Okonkwo Pemberton Quiroga Rahimi Sandoval Thistlewood Ulrich
    Vasquez Whitcombe Yamada Zielinski Ashdown Bellweather Cavanagh Dragomir Elmhurst Fontaine Gallagher
    Hartmann Iversen Jarvis
""".split()  # noqa: SIM905  likewise
NOTES = (
    "Seasonal rhinitis since school. Cetirizine in May and June helps; no asthma.",
    "Type 2 diabetes, well controlled. HbA1c every three months. Diet sheet given.",
    "Fractured left wrist, healed without surgery. Grip strength back to normal.",
    "Migraine with aura, about twice a month. Keeps a diary. Avoids red wine.",
    "Allergic to penicillin (rash in 2009). Tolerates macrolides.",
    "Raised blood pressure at the last two visits. Measures at home, morning and evening.",
    "Hypothyroid, levothyroxine 75 micrograms. Levels steady for two years.",
    "Sleeps badly since a change of shifts. No medication wanted; hygiene discussed.",
    "Knee pain on stairs. Physiotherapy from next month, scan only if no better.",
    "Healthy. Comes for the yearly check and travel vaccinations.",
    "Recovering from shingles. Pain has gone; scars on the right flank.",
    "Iron deficiency, cause looked for. Endoscopy without findings.",
    "Contact dermatitis of both hands; works with cement. Gloves and a barrier cream.",
    "Stopped smoking in spring. Cough has gone, weight up by three kilograms.",
    "Anxiety before operations. Prefers to have everything explained beforehand.",
)
REASONS = (
    "Yearly check", "Blood pressure", "Vaccination", "Test results", "Back pain", "New prescription",
    "Wound dressing", "Follow-up after surgery", "Hearing test", "Skin check", "Blood sample", "Consultation",
)  # fmt: skip
LETTER = """Discharge letter

Dear colleague,

thank you for referring {name}, born {born}, who was with us for two nights.
The findings were reassuring. Please check the blood count in two weeks.

Kind regards,
the ward
"""


class People:
    """Makes up people, one after the other.

    Args:
        seed: the same seed makes the same people.
        ages: how old they are, in years.
    """

    def __init__(self, seed: str, ages: tuple[int, int]) -> None:
        self._random = Random(seed)
        self._ages = ages
        self._numbers = iter(self._random.sample(range(10_000), 9_000))

    def name(self) -> str:
        return f"{self._random.choice(FAMILY)}, {self._random.choice(GIVEN)}"

    def number(self) -> str:
        """Return a number of the form of those that are issued, from a range that is not."""
        return (
            f"9{self._random.randrange(100):02}-{self._random.randrange(1, 100):02}-{next(self._numbers):04}"
        )

    def born(self) -> date:
        youngest, oldest = self._ages
        return date(2026, 1, 1) - timedelta(days=self._random.randrange(youngest * 365, oldest * 365))

    def notes(self) -> str:
        return " ".join(self._random.sample(NOTES, self._random.choice((1, 1, 2))))

    def appointment(self, now: datetime) -> tuple[datetime, str]:
        day = now.replace(hour=8, minute=0, second=0, microsecond=0) + timedelta(
            days=self._random.randrange(1, 28)
        )
        return day + timedelta(minutes=15 * self._random.randrange(36)), self._random.choice(REASONS)
