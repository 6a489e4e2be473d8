"""The example's migrations over one database, and what its rows and keys look like after each."""

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    Date,
    Engine,
    Integer,
    String,
    Text,
    cast,
    column,
    create_engine,
    func,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from examples.history.keys import INI, Storage
from examples.history.models import SEALED_COLUMNS, Patient
from sqlalchemy_cmk import tenant_scope
from sqlalchemy_cmk.format import parse_header

RIVERSIDE, HILLSIDE = "riverside", "hillside"
COLUMNS = {
    "id": Integer(),
    "clinic": String(),
    "name": String(),
    "ssn": String(),
    "email": String(),
    "born": Date(),
    "history": JSON(),
}
SSN = "078-05-{:04}"


def patients(count: int = 8) -> list[dict[str, Any]]:
    """Rows of two clinics in turn."""
    return [
        {
            "id": number,
            "clinic": HILLSIDE if number % 2 else RIVERSIDE,
            "name": f"Zoë Ångström-{number}",
            "ssn": SSN.format(number),
            "email": f"Patient.{number}@example.org",
            "born": date(1950, 2, 1 + number % 28),
            "history": [] if number % 3 == 0 else ["ein Hüsteln", f'"{number}" \N{SNOWMAN}'],
        }
        for number in range(1, count + 1)
    ]


class History:
    """The clinic's database and its two histories.

    Args:
        folder: where its keys are.
        url: the database.
        async_url: the same by an asynchronous driver, where migrations use that.
    """

    def __init__(self, folder: Path, url: str, async_url: str | None = None) -> None:
        self.folder = folder
        self.url = url
        self.storage = Storage(folder, async_url or url)
        self.engine: Engine = self.storage.engine if async_url is None else create_engine(url)

    def close(self) -> None:
        self.engine.dispose()
        self.storage.close()

    def schema(self, to: str, *x: str) -> None:
        self._run(to, "alembic", x)

    def keys(self, to: str, *x: str) -> None:
        self._run(to, "keys", x)

    def _run(self, to: str, section: str, x: tuple[str, ...]) -> None:
        """Upgrade to a revision, or downgrade to one that is written with a minus before it."""
        config = self.config(section, x)
        if to.startswith("-"):
            command.downgrade(config, to[1:])
        else:
            command.upgrade(config, to)

    def config(self, section: str = "alembic", x: tuple[str, ...] = ()) -> Config:
        config = Config(INI, ini_section=section, cmd_opts=Namespace(x=list(x)))
        config.attributes["storage"] = self.storage
        return config

    def shell(self, line: str) -> "subprocess.Popen[str]":
        """Start ``alembic`` as a user does."""
        environment = {**os.environ, "HISTORY_DATA": str(self.folder), "HISTORY_DATABASE": self.url}
        command_line = [sys.executable, "-m", "alembic", "-c", str(INI), *line.split()]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command_line, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def kill_when(self, line: str, reached: Callable[[], bool]) -> None:
        """Start ``alembic``, at so few rows a second that it is not done before it is killed."""
        process = self.shell(f"-x rate=25 -x chunk=10 {line}")
        while not reached():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.kill()
        process.communicate()

    def count(self, where: str) -> int:
        try:
            with self.engine.connect() as connection:
                return int(connection.scalar(text(f"SELECT count(*) FROM patients WHERE {where}")) or 0)
        except DBAPIError:  # there is no such column yet
            return 0

    def add_plain(self, rows: list[dict[str, Any]]) -> None:
        plain = table("patients", *(column(name, type_) for name, type_ in COLUMNS.items()))
        with self.engine.begin() as connection:
            connection.execute(plain.insert(), rows)

    def add(self, **values: Any) -> None:
        with Session(self.engine) as session:
            session.add(Patient(**values))
            session.commit()

    def stored(self) -> list[tuple[Any, ...]]:
        """Every value as the database holds it."""
        names = [column(name) for name in ("id", "clinic", *SEALED_COLUMNS)]
        with self.engine.connect() as connection:
            query = select(*names).select_from(table("patients")).order_by(column("id"))
            return [tuple(row) for row in connection.execute(query)]

    def plain(self) -> tuple[Any, ...]:
        """Every plain value as the database holds it, and the table's shape."""
        texts = [cast(column(name), Text if name == "history" else String(200)) for name in SEALED_COLUMNS]
        with self.engine.connect() as connection:
            query = select(column("id"), column("clinic"), *texts).select_from(table("patients"))
            rows = [tuple(row) for row in connection.execute(query.order_by(column("id")))]
        return rows, self._shape()

    def _shape(self) -> dict[str, Any]:
        inspector = inspect(self.engine)
        return {
            "columns": [
                (c["name"], repr(c["type"]), c["nullable"]) for c in inspector.get_columns("patients")
            ],
            "indexes": sorted((str(i["name"]), i["column_names"]) for i in inspector.get_indexes("patients")),
            "unique": sorted(
                (str(u["name"]), u["column_names"]) for u in inspector.get_unique_constraints("patients")
            ),
        }

    def read(self, clinic: str) -> list[dict[str, Any]]:
        """A clinic's patients as the application reads them."""
        with Session(self.engine) as session, tenant_scope(clinic):
            found = session.scalars(select(Patient).where(Patient.clinic == clinic).order_by(Patient.id))
            names = ("id", "clinic", *SEALED_COLUMNS)
            return [{name: getattr(patient, name) for name in names} for patient in found]

    def starting_with(self, clinic: str, beginning: str) -> int:
        """How many of a clinic's patients the database finds by how their names begin."""
        criteria = Patient.clinic == clinic, Patient.name.istartswith(beginning)
        with Session(self.engine) as session:
            return int(session.scalar(select(func.count()).select_from(Patient).where(*criteria)) or 0)

    def sealed_under(self, clinic: str) -> dict[str, set[bytes]]:
        """By column, the ids of the DEKs that a clinic's rows are sealed under; all of them are sealed."""
        sealed: dict[str, set[bytes]] = {name: set() for name in SEALED_COLUMNS}
        for _, owner, *values in self.stored():
            for name, value in zip(SEALED_COLUMNS, values, strict=True):
                _, dek_id = parse_header(bytes(value))
                if owner == clinic:
                    sealed[name].add(dek_id)
        return sealed

    def deks(self, clinic: str, state: str = "active") -> dict[str, bytes]:
        """By purpose, the id of the newest DEK of a clinic in a state."""
        query = text(
            "SELECT purpose, id FROM cmk_deks WHERE tenant = :tenant AND state = :state ORDER BY created_at"
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query, {"tenant": clinic, "state": state})
            return {str(_text(row[0])): bytes(row[1]) for row in rows}

    def wrapped_by(self, clinic: str) -> set[tuple[str, str]]:
        """The KEKs and their versions that wrap a clinic's DEKs."""
        query = text(
            "SELECT w.kek_uri, w.kek_version FROM cmk_wrappings w JOIN cmk_deks d ON d.id = w.dek_id "
            "WHERE d.tenant = :tenant"
        )
        with self.engine.connect() as connection:
            return {(_text(u), _text(v)) for u, v in connection.execute(query, {"tenant": clinic})}

    def newest(self, kek_uri: str) -> tuple[str, str]:
        return kek_uri, self.storage.provider.newest_version(kek_uri)

    def heads(self, section: str) -> set[str]:
        name = "alembic_version_keys" if section == "keys" else "alembic_version"
        with self.engine.connect() as connection:
            return set(connection.scalars(text(f"SELECT version_num FROM {name}")))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
