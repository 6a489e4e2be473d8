"""Inserting rows of the platform's table, two of its six columns sealed, against plain text."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from benchmarks.tables import Database, Row, patient_rows, patients, plain, sealed
from benchmarks.timing import Contestant, Rounds, timed

PLAIN, SEALED = patients("written_plain", plain), patients("written_sealed", sealed)


def add_all(session: Session, model: Any, rows: list[Row]) -> float:
    """Return the seconds of ``add_all`` and ``commit``; the database makes the keys."""
    objects = [model(**{**row, "id": None}) for row in rows]

    def work() -> None:
        session.add_all(objects)
        session.commit()

    return timed(work)[0]


def bulk(session: Session, model: Any, rows: list[Row]) -> float:
    """Return the seconds of a bulk insert, without its commit."""
    seconds = timed(lambda: session.execute(insert(model), rows))[0]
    session.commit()
    return seconds


def write(
    database: Database, act: Callable[[Session, Any, list[Row]], float], model: Any, rows: list[Row]
) -> Contestant:
    """Return a contestant that writes rows into the emptied table."""

    def run() -> float:
        with Session(database.engine) as session:
            session.execute(delete(model))
            session.commit()
            return act(session, model, rows)

    return run


def writing(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratios of the writes to those of plain text."""
    rows = patient_rows(count)
    database.keyring.warm([""])
    seconds = Rounds(
        {
            "add_all, plain": write(database, add_all, PLAIN, rows),
            "add_all, sealed": write(database, add_all, SEALED, rows),
            "bulk, plain": write(database, bulk, PLAIN, rows),
            "bulk, sealed": write(database, bulk, SEALED, rows),
        },
        rounds,
    )
    return {
        "add_all and commit, against plain text": seconds.ratio("add_all, sealed", "add_all, plain"),
        "bulk insert(Model), rows, against plain text": seconds.ratio("bulk, sealed", "bulk, plain"),
    }
