"""What somebody might do who can write to the database, and what the application answers.

Each attempt is undone: by a rollback, and where it has to be committed to be seen, by writing back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from examples.clinic.models import Patient
from examples.clinic.storage import Storage
from sqlalchemy_cmk import CmkError, tenant_scope

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        done: what was written, in words.
        error: the error's name; empty if nothing was noticed.
        message: what it says.
    """

    done: str
    error: str
    message: str


def attempt(storage: Storage, clinic: str, what: str) -> Outcome:
    """Make one of :data:`ATTEMPTS` on a clinic's rows, and say what reading them gave."""
    with _one_at_a_time:
        done, write = ATTEMPTS[what]
        if what == "relabel":
            return _relabel(storage, clinic, done)
        with storage.engine.connect() as connection:
            write(connection, clinic)
            outcome = _read(connection, clinic, done)
            connection.rollback()
        return outcome


def _read(connection: Connection, clinic: str, done: str) -> Outcome:
    try:
        with tenant_scope(clinic), Session(connection) as session:
            session.scalars(select(Patient).where(Patient.clinic == clinic).order_by(Patient.id)).all()
    except CmkError as error:
        return Outcome(done, type(error).__name__, str(error))
    return Outcome(done, "", "Nothing was noticed.")


def _relabel(storage: Storage, clinic: str, done: str) -> Outcome:
    """Give a clinic's DEK to another in the key tables. The keyring reads these over its own connections."""
    other = next(name for name in storage.vaults if name != clinic)
    before = text(
        "SELECT id, tenant, state, active_slot FROM cmk_deks "
        "WHERE tenant = :tenant AND purpose = 'randomized'"
    )
    write = text(
        "UPDATE cmk_deks SET tenant = :tenant, state = :state, active_slot = :active_slot WHERE id = :id"
    )
    with storage.engine.begin() as connection:
        deks = [dict(row) for row in connection.execute(before, {"tenant": clinic}).mappings()]
        # As a retired one, since the other has an active one of its own.
        moved = [{**dek, "tenant": other, "state": "retired", "active_slot": None} for dek in deks]
        connection.execute(write, moved)
    try:
        storage.keyring.forget(clinic)
        with storage.engine.connect() as connection:
            return _read(connection, clinic, done)
    finally:
        with storage.engine.begin() as connection:
            connection.execute(write, deks)
        storage.keyring.forget(clinic)


def _flip(connection: Connection, clinic: str) -> None:
    first, _ = _two(connection, clinic)
    (stored,) = connection.execute(text("SELECT notes FROM patients WHERE id = :id"), {"id": first}).one()
    flipped = bytes(stored[:-1]) + bytes((stored[-1] ^ 1,))
    _put(connection, "notes", first, flipped)


def _swap(connection: Connection, clinic: str) -> None:
    first, second = _two(connection, clinic)
    query = text("SELECT name FROM patients WHERE id = :id")
    one, other = (bytes(connection.execute(query, {"id": key}).scalar_one()) for key in (first, second))
    _put(connection, "name", first, other)
    _put(connection, "name", second, one)


def _move(connection: Connection, clinic: str) -> None:
    first, _ = _two(connection, clinic)
    name = connection.execute(text("SELECT name FROM patients WHERE id = :id"), {"id": first}).scalar_one()
    _put(connection, "notes", first, bytes(name))


def _take_over(connection: Connection, clinic: str) -> None:
    """Put another clinic's row under this one, to read it here."""
    query = text("SELECT min(id) FROM patients WHERE clinic <> :clinic")
    theirs = connection.execute(query, {"clinic": clinic}).scalar_one()
    change = text("UPDATE patients SET clinic = :clinic WHERE id = :id")
    connection.execute(change, {"clinic": clinic, "id": theirs})


def _nothing(_: Connection, __: str) -> None:
    """Do nothing here: the key tables are changed elsewhere."""


def _two(connection: Connection, clinic: str) -> tuple[int, int]:
    query = text("SELECT id FROM patients WHERE clinic = :clinic ORDER BY id LIMIT 2")
    first, second = connection.scalars(query, {"clinic": clinic})
    return first, second


def _put(connection: Connection, column: str, key: int, value: bytes) -> None:
    change = {"notes": "UPDATE patients SET notes = :v WHERE id = :id"}
    change["name"] = "UPDATE patients SET name = :v WHERE id = :id"
    connection.execute(text(change[column]), {"v": value, "id": key})


ATTEMPTS: dict[str, tuple[str, Callable[[Connection, str], None]]] = {
    "flip": ("Flip one bit of a patient's notes", _flip),
    "swap": ("Swap the names of two patients", _swap),
    "move": ("Put a name where the notes belong", _move),
    "take_over": ("Move another clinic's patient here", _take_over),
    "relabel": ("Give this clinic's DEK to another clinic in the key tables", _nothing),
}
