"""What an index adds to ``add_all``, against the same column without one."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Date, Integer, String, create_engine, delete, event
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from benchmarks.search.people import Person
from benchmarks.search.twins import BORN, TENANT
from benchmarks.tenants.figure import Figure
from benchmarks.timing import Contestant, Rounds, timed
from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.search import Exact, NGram, Prefix, Range

KINDS: dict[str, tuple[str, Any]] = {
    "Exact": ("email", Exact()),
    "Range": ("born", Range(*BORN)),
    "Prefix": ("name", Prefix()),
    "NGram": ("name", NGram(3)),
}
TIMES = {"Exact": 1.25, "Range": 1.2, "Prefix": 1.3, "NGram": 1.7}


class Tables:
    """A model without an index, and one for each kind, on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.engine = create_engine(url)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        self.base: Any = type("Base", (DeclarativeBase,), {})
        self.models = {"none": self._model("none", {})}
        self.models |= {kind: self._model(kind, {column: index}) for kind, (column, index) in KINDS.items()}
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[LocalKeyProvider(folder / "writing.json")],
            table_prefix="cmkw_",
            revalidate_after=timedelta(days=1),
        )
        self.keyring.protect(self.base)
        self.base.metadata.create_all(self.engine)

    def add_all(self, kind: str, rows: list[Person]) -> Contestant:
        """Return a contestant that adds people to an empty table and commits."""
        model: Any = self.models[kind]

        def contest() -> float:
            with Session(self.engine) as session:
                session.execute(delete(model))
                session.commit()
                objects = [model(clinic=TENANT, visits=1, **one._asdict()) for one in rows]

                def work() -> None:
                    session.add_all(objects)
                    session.commit()

                return timed(work)[0]

        return contest

    def close(self) -> None:
        """Close the keyring and the engine."""
        self.keyring.close()
        self.engine.dispose()

    def _model(self, kind: str, indexes: dict[str, Any]) -> Any:
        def sealed(column: str, type_: Any) -> Any:
            return mapped_column(EncryptedType(type_, index=[indexes[column]] if column in indexes else []))

        return type(
            f"Person{kind}",
            (self.base,),
            {
                "__tablename__": f"w_{kind.lower()}",
                "__cmk_tenant__": "clinic",
                "id": mapped_column(Integer, primary_key=True),
                "clinic": mapped_column(String(20)),
                "visits": mapped_column(Integer),
                "email": sealed("email", String(80)),
                "name": sealed("name", String(80)),
                "born": sealed("born", Date),
            },
        )


def writing(url: str, folder: Path, rows: list[Person], rounds: int) -> Iterator[Figure]:
    """Yield what each kind of index adds to ``add_all``."""
    tables = Tables(url, folder)
    kind_of_database = tables.engine.dialect.name
    try:
        seconds = Rounds({kind: tables.add_all(kind, rows) for kind in tables.models}, rounds)
        for kind, target in TIMES.items():
            judged = target if kind_of_database == "postgresql" else None
            yield Figure(f"add_all with {kind}, {kind_of_database}", judged, seconds.ratio(kind, "none"))
    finally:
        tables.close()
