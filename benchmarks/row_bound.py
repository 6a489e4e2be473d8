"""Loading row-bound columns, against the same columns that are not."""

from typing import Any

from sqlalchemy import String

from benchmarks.tables import Database, patient_rows, patients, sealed
from benchmarks.timing import Rounds
from sqlalchemy_cmk import EncryptedType


def _bound() -> EncryptedType:
    options: dict[str, Any] = {"row_bound": True}
    return EncryptedType(String(40), **options)


UNBOUND = patients("unbound", sealed)
try:
    BOUND = patients("bound", _bound)
except TypeError:  # EncryptedType has no such option yet.
    BOUND = None


def row_bound(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratio of the load to that of columns that are not row-bound."""
    if BOUND is None:
        return {}
    rows = patient_rows(count)
    for model in (UNBOUND, BOUND):
        database.fill(model, rows)
    seconds = Rounds(
        {
            "unbound": lambda: database.orm_load(UNBOUND, rows),
            "bound": lambda: database.orm_load(BOUND, rows),
        },
        rounds,
    )
    return {"ORM load, row-bound columns, against those that are not": seconds.ratio("bound", "unbound")}
