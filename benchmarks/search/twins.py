"""The same people twice: sealed with search indexes, and in the clear with each column's own best index."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Date, Engine, Index, Integer, String, create_engine, event, func, insert, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

from benchmarks.search.people import Person
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.search import Exact, NGram, Prefix, Range

TENANT = "acme"
AT_ONCE = 10_000
BORN = date(1900, 1, 1), date(2100, 1, 1)


class Twins:
    """Two tables of people on one database.

    Args:
        url: the database's.
        folder: where the provider keeps its KEK.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.engine: Engine = create_engine(url)
        self.kind = self.engine.dialect.name
        if self.kind == "sqlite":
            event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        base: Any = type("Base", (DeclarativeBase,), {})
        plain: Any = type("Plain", (DeclarativeBase,), {})
        self.Sealed = _model(
            base,
            "people",
            email=mapped_column(EncryptedType(String(80), index=[Exact()])),
            name=mapped_column(EncryptedType(String(80), index=[Prefix(), NGram(3)])),
            born=mapped_column(EncryptedType(Date, index=[Range(*BORN)])),
        )
        self.Plain = _model(
            plain,
            "plain_people",
            email=mapped_column(String(80), index=True),
            name=mapped_column(String(80)),
            born=mapped_column(Date, index=True),
        )
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[LocalKeyProvider(folder / "keys.json")],
            revalidate_after=timedelta(days=1),
        )
        self.keyring.protect(base)
        base.metadata.create_all(self.engine)
        plain.metadata.create_all(self.engine)
        self._index_names()

    def fill(self, rows: Iterable[Person]) -> None:
        """Write people into both tables."""
        for part in _parts(iter(rows)):
            values = [{"clinic": TENANT, **one._asdict()} for one in part]
            with self.engine.begin() as connection:
                connection.execute(insert(self.Sealed.__table__), values)
                connection.execute(insert(self.Plain.__table__), values)
                if self.kind == "sqlite":
                    connection.execute(
                        text("INSERT INTO plain_grams (rowid, name) VALUES (:id, :name)"), values
                    )
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(
                text("ANALYZE TABLE people, plain_people" if self.kind in ("mysql", "mariadb") else "ANALYZE")
            )
            if self.kind == "postgresql":
                connection.execute(text("VACUUM ANALYZE"))

    def close(self) -> None:
        """Close the keyring and the engine."""
        self.keyring.close()
        self.engine.dispose()

    def _index_names(self) -> None:
        """Index the plain names as each database does it best."""
        name = self.Plain.__table__.c.name
        with self.engine.begin() as connection:
            if self.kind == "postgresql":
                connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
                lower = func.lower(name)
                Index(
                    "plain_begins", lower.label("lower"), postgresql_ops={"lower": "text_pattern_ops"}
                ).create(connection)
                connection.execute(
                    text("CREATE INDEX plain_grams ON plain_people USING gin (lower(name) gin_trgm_ops)")
                )
            elif self.kind == "sqlite":
                Index("plain_begins", name.collate("NOCASE")).create(connection)
                connection.execute(
                    text(
                        "CREATE VIRTUAL TABLE plain_grams USING fts5("
                        "name, content='plain_people', content_rowid='id', tokenize='trigram')"
                    )
                )
            else:
                Index("plain_begins", name).create(connection)


def _parts(rows: Iterator[Person]) -> Iterator[Sequence[Person]]:
    while part := list(islice(rows, AT_ONCE)):
        yield part


def _model(base: Any, table: str, **columns: Any) -> Any:
    own = {"id": mapped_column(Integer, primary_key=True), "clinic": mapped_column(String(20))}
    return type("Person", (base,), {"__tablename__": table, "__cmk_tenant__": "clinic", **own, **columns})
