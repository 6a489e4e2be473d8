"""A table of patients of two tenants, before and after its columns are sealed."""

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Column,
    Date,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    insert,
    inspect,
    text,
)

from sqlalchemy_cmk import EncryptedType
from tests.alembic.conftest import Project

SECRET = "078-05-1120"
__all__ = ["Date", "EncryptedType", "LargeBinary", "Numeric", "String"]

TENANTS = ("acme", "globex")


def plain() -> MetaData:
    """The models before."""
    return models(String(60), String(40), Date(), Numeric(8, 2))


def sealed(**options: Any) -> MetaData:
    """The models after."""
    return models(
        EncryptedType(String(60), deterministic=True),
        EncryptedType(String(40), **options),
        EncryptedType(Date()),
        EncryptedType(Numeric(8, 2)),
    )


def models(email: Any, ssn: Any, born: Any, debt: Any) -> MetaData:
    metadata = MetaData()
    table = Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("email", email, nullable=False, unique=True),
        Column("clinic_id", String(40), nullable=False),
        Column("ssn", ssn, nullable=True, comment="Social Security number"),
        Column("born", born, nullable=False),
        Column("debt", debt, nullable=True),
        info={"cmk_tenant": "clinic_id"},
    )
    Index("ix_patients_email", table.c.clinic_id, table.c.email)
    return metadata


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of two tenants, some values missing."""
    return [
        {
            "id": number,
            "email": f"patient{number}@example.org",
            "clinic_id": TENANTS[number % 2],
            "ssn": None if number % 5 == 0 else f"{SECRET} é {number:05}",
            "born": date(1980, 1, 1 + number % 28),
            "debt": None if number % 3 == 0 else Decimal(number) / 4,
        }
        for number in range(1, count + 1)
    ]


def make_plain(project: Project, count: int) -> None:
    """Have a project's migrations make the table with plain values, and fill it."""
    project.options["rekey"] = {"rate": None}
    project.models(plain())
    project.autogenerate()
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), rows(count))


def stored(engine: Engine) -> list[Any]:
    """Every value as the database holds it, with its type where it tells."""
    kind = "typeof(ssn), typeof(debt), typeof(born)" if engine.dialect.name == "sqlite" else "1"
    columns = "id, email, clinic_id, ssn, born, debt"
    with engine.connect() as connection:
        query = text(f"SELECT {columns}, {kind} FROM patients ORDER BY id")
        return [tuple(row) for row in connection.execute(query)]


def shape(engine: Engine) -> dict[str, Any]:
    """What the database's catalogue says about the table."""
    inspector = inspect(engine)
    columns = {
        column["name"]: (repr(column["type"]), column["nullable"], column["default"], column.get("comment"))
        for column in inspector.get_columns("patients")
    }
    indexes = sorted(
        (str(one["name"]), one["column_names"], bool(one["unique"]))
        for one in inspector.get_indexes("patients")
    )
    unique = sorted((str(o["name"]), o["column_names"]) for o in inspector.get_unique_constraints("patients"))
    return {"columns": columns, "indexes": indexes, "unique": unique}
