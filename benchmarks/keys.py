"""What keys cost: a cold start in provider calls and statements, an opened key in memory."""

import gc
import tempfile
import tracemalloc
from typing import Any

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.types import Integer, String

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.keys.model import DekRecord, DekState, OpenedDek, Purpose
from sqlalchemy_cmk.keys.opened import OpenedKeys
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped

KEYS = 5_000


class Counting(LocalKeyProvider):
    """The local provider, counting its calls."""

    calls = 0

    def unwrap(self, wrapped: Wrapped) -> bytes:
        type(self).calls += 1
        return super().unwrap(wrapped)


def cold_start() -> dict[str, float]:
    """Return provider calls for each purpose, and key statements, to write and read one tenant again."""
    base: Any = type("Base", (DeclarativeBase,), {})
    column = mapped_column(EncryptedType(String(20)))
    attributes = {"__tablename__": "p", "__cmk_tenant__": "c", "id": mapped_column(Integer, primary_key=True)}
    model = type("P", (base,), {**attributes, "c": mapped_column(String(9)), "s": column})
    folder = tempfile.mkdtemp(prefix="cmk-bench-")
    engine = create_engine(f"sqlite:///{folder}/cold.db")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[Counting(f"{folder}/keys.json")])
    keyring.protect(base)
    base.metadata.create_all(engine)
    keyring.warm(["acme"])
    keyring.forget()
    Counting.calls, statements = 0, []

    def note(*args: Any) -> None:
        if "cmk_" in args[2]:
            statements.append(args[2])

    event.listen(Engine, "before_cursor_execute", note)
    with Session(engine) as session:
        session.add(model(c="acme", s="x"))
        session.commit()
        session.scalars(select(model)).all()
    event.remove(Engine, "before_cursor_execute", note)
    return {"cold start: provider calls": Counting.calls, "cold start: statements": len(statements)}


def memory() -> dict[str, float]:
    """Return the bytes of an opened key that serves two columns, and how many are kept of a thousand more.

    Ciphers are apart: a column holds at most 256 for opening and 256 for sealing, however many keys are open.
    """
    opened = OpenedKeys(KEYS, lambda: 0.0)
    put(opened, range(100))
    gc.collect()
    tracemalloc.start()
    put(opened, range(100, KEYS))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] / (KEYS - 100)
    tracemalloc.stop()
    put(opened, range(KEYS, KEYS + 1000))
    return {"bytes of an opened key": grown, "kept at max_open_keys": len(opened) / KEYS}


def put(opened: OpenedKeys, numbers: range) -> None:
    for number in numbers:
        record = DekRecord(number.to_bytes(8, "big"), f"tenant {number}", Purpose.SEAL, DekState.ACTIVE, ())
        dek = OpenedDek(record, number.to_bytes(32, "big"), 0.0, 1.0)
        dek.cipher("patients.name")
        dek.cipher("patients.ssn")
        opened.put(dek)
