"""The patients, with every personal column sealed under their clinic's key."""

from datetime import date

from sqlalchemy import JSON, Date, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.search import Prefix


class Base(DeclarativeBase):
    """The application's models."""


class Patient(Base):
    """A patient of one clinic; ``clinic`` says whose row it is."""

    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    __table_args__ = (UniqueConstraint("clinic", "email", name="uq_patients_clinic_email"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80), on_revoked="seal", index=[Prefix()]))
    ssn: Mapped[str] = mapped_column(EncryptedType(String(11), on_revoked="seal"))
    email: Mapped[str] = mapped_column(EncryptedType(String(120), deterministic=True, on_revoked="seal"))
    born: Mapped[date] = mapped_column(EncryptedType(Date, on_revoked="seal"))
    history: Mapped[list[str]] = mapped_column(EncryptedType(JSON, on_revoked="seal"))


SEALED_COLUMNS = ("name", "ssn", "email", "born", "history")
