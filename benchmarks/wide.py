"""Loading objects all of whose columns are sealed."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Integer
from sqlalchemy.orm import mapped_column

from benchmarks.reading import bare_decrypt
from benchmarks.tables import Base, Database, Row, plain, sealed
from benchmarks.timing import Rounds

COLUMNS = [f"column_{number}" for number in range(10)]


def _wide(name: str, type_: Callable[[], Any]) -> Any:
    columns = {column: mapped_column(type_()) for column in COLUMNS}
    key = mapped_column(Integer, primary_key=True)
    return type(name, (Base,), {"__tablename__": name, "__cmk_tenant__": None, "id": key, **columns})


PLAIN, SEALED = _wide("wide_plain", plain), _wide("wide_sealed", sealed)


def wide(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratio of the load to that of plain text."""
    rows: list[Row] = [
        {"id": number, **{column: f"{column} {number}" for column in COLUMNS}}
        for number in range(1, count + 1)
    ]
    for model in (PLAIN, SEALED):
        database.fill(model, rows)
    seconds = Rounds(
        {
            "bare": bare_decrypt([row[column] for row in rows for column in COLUMNS]),
            "plain": lambda: database.orm_load(PLAIN, rows),
            "sealed": lambda: database.orm_load(SEALED, rows),
        },
        rounds,
    )
    return {
        "ORM load, 10 of 10 columns sealed, against plain text": seconds.ratio("sealed", "plain"),
        "the same, if a value cost a bare decrypt": 1 + seconds.ratio("bare", "plain"),
    }
