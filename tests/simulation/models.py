"""The application: patients of clinics, with sealed columns. Each process has classes of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType

TABLE = "patients"
SEALED = {"note": EncryptedType(String(60)), "email": EncryptedType(String(60), deterministic=True)}


# A column that migrations seal, in one of two ways, and open again. Its values are bytes in either form, so
# that one that is sealed twice looks like one that is sealed.
CONVERTED, CONVERTED_COLUMN = "visits", "reason"
FORMS = {
    "": LargeBinary(),
    "randomized": EncryptedType(LargeBinary()),
    "deterministic": EncryptedType(LargeBinary(), deterministic=True),
}


@dataclass
class Models:
    """A declarative base and its class, and the table of visits in each of its forms."""

    base: Any
    patient: Any
    visits: dict[str, Table]

    @classmethod
    def make(cls) -> Models:
        class Base(DeclarativeBase):
            pass

        class Patient(Base):
            __tablename__ = TABLE
            __cmk_tenant__ = "clinic_id"
            # Two may delete the same row.
            __mapper_args__ = {"confirm_deleted_rows": False}  # noqa: RUF012

            id: Mapped[int] = mapped_column(primary_key=True)
            clinic_id: Mapped[str] = mapped_column(String(20))
            note: Mapped[str | None] = mapped_column(SEALED["note"].copy())
            email: Mapped[str | None] = mapped_column(SEALED["email"].copy())

        return cls(Base, Patient, {name: _visits(MetaData(), type_) for name, type_ in FORMS.items()})


def _visits(metadata: MetaData, type_: Any) -> Table:
    columns = (
        Column("id", Integer, primary_key=True),
        Column("clinic_id", String(20), nullable=False),
        Column(CONVERTED_COLUMN, type_.copy()),
    )
    return Table(CONVERTED, metadata, *columns, info={"cmk_tenant": "clinic_id"})


_idle: list[Models] = []


def take() -> Models:
    """Models that no process uses: to map a class takes longer than most of what a process does."""
    return _idle.pop() if _idle else Models.make()


def give_back(models: Models) -> None:
    """Let another process use them."""
    for metadata in (models.base.metadata, *(table.metadata for table in models.visits.values())):
        metadata.info.clear()
    _idle.append(models)
