"""Hand-written SQL, against SQLAlchemy Core and plain text; and what a statement that is known costs."""

import sqlite3
from typing import Any

from sqlalchemy import text

from benchmarks.tables import Base, Database, patient_rows, patients, plain, sealed
from benchmarks.timing import Rounds, timed
from sqlalchemy_cmk.dbapi import transparent, wrap

SEALED = patients("raw_sealed", sealed, "clinic_id")
PLAIN = patients("raw_plain", plain)
TIMES = 10_000


def raw_sql(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratios of whole loads, and the microseconds in which a known statement is found."""
    rows = patient_rows(count)
    for model in (SEALED, PLAIN):
        database.fill(model, rows)
    connection = sqlite3.connect(f"{database.folder}/bench.db")
    wrapped = wrap(connection, database.keyring, Base)
    reading = transparent(database.engine, database.keyring)
    statement = "SELECT * FROM raw_sealed"

    def by_cursor() -> float:
        cursor = wrapped.cursor()
        seconds, found = timed(lambda: cursor.execute(statement).fetchall())
        assert found[-1][:5] == tuple(rows[-1].values())[:5]
        return seconds

    def by_text() -> float:
        with reading.connect() as one:
            return timed(lambda: one.execute(text(statement)).all())[0]

    def known() -> float:
        def find() -> None:
            for _ in range(TIMES):
                wrapped.known(statement)

        return timed(find)[0]

    contestants: dict[str, Any] = {
        "core": lambda: database.core_load(SEALED, rows),
        "cursor": by_cursor,
        "text": by_text,
        "known": known,
    } | _pandas(reading)
    seconds = Rounds(contestants, rounds)
    connection.close()
    figures = {
        "load by a wrapped cursor, against Core": seconds.ratio("cursor", "core"),
        "load by text(), against Core": seconds.ratio("text", "core"),
        "a known statement, microseconds": min(seconds.seconds["known"]) / TIMES * 1e6,
    }
    if "pandas" in contestants:
        figures["pandas.read_sql, against plain text"] = seconds.ratio("pandas", "pandas, plain")
    return figures


def _pandas(engine: Any) -> dict[str, Any]:
    try:
        import pandas
    except ModuleNotFoundError:
        return {}

    def read(table: str) -> float:
        with engine.connect() as connection:
            query = text(f"SELECT * FROM {table}")
            return timed(lambda: pandas.read_sql(query, connection))[0]

    return {"pandas": lambda: read("raw_sealed"), "pandas, plain": lambda: read("raw_plain")}
