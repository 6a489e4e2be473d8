"""The same six-column table, two columns of it sealed in different ways."""

import datetime as dt
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from advanced_alchemy.types import EncryptedString
from sqlalchemy import Date, Integer, String, create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy_utils import StringEncryptedType
from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine, FernetEngine

from sqlalchemy_cmk import EncryptedType, Keyring, tenant_scope
from sqlalchemy_cmk.providers import LocalKeyProvider

ROWS = 10_000
PASSWORD = "a password of the other libraries"


class Base(DeclarativeBase):
    """The tables of the benchmark."""


def patients(name: str, type_: Callable[[], Any], **attributes: Any) -> Any:
    columns = {
        "id": mapped_column(Integer, primary_key=True),
        "clinic_id": mapped_column(String(40)),
        "name": mapped_column(type_()),
        "ssn": mapped_column(type_()),
        "city": mapped_column(String(40)),
        "admitted": mapped_column(Date),
    }
    return type(name, (Base,), {"__tablename__": name, **columns, **attributes})


MODELS = {
    "plain text": patients("plain", lambda: String(40)),
    "sealed": patients("sealed", lambda: EncryptedType(String(40)), __cmk_tenant__="clinic_id"),
    "sqlalchemy-utils AES-GCM": patients(
        "utils_gcm", lambda: StringEncryptedType(String, PASSWORD, AesGcmEngine, "pkcs5")
    ),
    "sqlalchemy-utils Fernet": patients(
        "utils_fernet", lambda: StringEncryptedType(String, PASSWORD, FernetEngine)
    ),
    "advanced-alchemy": patients("advanced", lambda: EncryptedString(key=PASSWORD)),
}


class Bench:
    """The tables on SQLite in a file, with a warm key."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="cmk-bench-")
        self.engine = create_engine(f"sqlite:///{folder}/bench.db")
        provider = LocalKeyProvider(f"{folder}/keys.json")
        self.keyring = Keyring(self.engine, platform_key="local:pmk", providers=[provider])
        self.keyring.protect(Base)
        Base.metadata.create_all(self.engine)
        self.keyring.warm(["acme"])

    def insert(self, model: Any) -> float:
        """Return the seconds that ``add_all`` and ``commit`` of the rows take."""
        with Session(self.engine) as session:
            session.execute(delete(model))
            session.commit()
            day = dt.date(2026, 1, 2)
            rows = [
                model(clinic_id="acme", name=f"Patient {n}", ssn=f"078-05-{n:04}", city="Bern", admitted=day)
                for n in range(ROWS)
            ]
            start = time.perf_counter()
            session.add_all(rows)
            session.commit()
            return time.perf_counter() - start

    def load(self, model: Any, scope: str | None = None) -> float:
        """Return the seconds that loading all rows as objects takes."""
        with Session(self.engine) as session, tenant_scope(scope) if scope else nullcontext():
            start = time.perf_counter()
            found = session.scalars(select(model)).all()
            elapsed = time.perf_counter() - start
            assert len(found) == ROWS and found[-1].ssn.startswith("078-05-")
            return elapsed
