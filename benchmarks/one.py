"""``session.get`` of one row that the session has not loaded."""

from typing import Any

from sqlalchemy.orm import Session

from benchmarks.tables import Database, patient_rows, patients, plain, sealed
from benchmarks.timing import Rounds, timed

GETS = 500
PLAIN, PLATFORM = patients("one_plain", plain), patients("one_platform", sealed)
TENANTS = patients("one_tenants", sealed, "clinic_id")


def one(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratio of a ``get`` to that of plain text."""
    rows = patient_rows(min(count, GETS), 50)
    for model in (PLAIN, PLATFORM, TENANTS):
        database.fill(model, rows)

    def get(model: Any) -> float:
        with Session(database.engine) as session:
            seconds, found = timed(lambda: [session.get(model, row["id"]) for row in rows])
            assert found[-1].ssn == rows[-1]["ssn"]
            return seconds

    seconds = Rounds(
        {
            "plain": lambda: get(PLAIN),
            "platform": lambda: get(PLATFORM),
            "tenants": lambda: get(TENANTS),
        },
        rounds,
    )
    return {
        "session.get of one row, against plain text": seconds.ratio("platform", "plain"),
        "session.get of one row, 50 tenants, against plain text": seconds.ratio("tenants", "plain"),
    }
