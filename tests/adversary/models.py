"""Patients of clinics: sealed columns of each kind."""

from secrets import randbelow

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType

REACTION = EncryptedType(String(80), row_bound=True, context="reaction")


class Base(DeclarativeBase):
    pass


class Patient(Base):
    """Sealed columns of each kind.

    `name` and `nickname` are not bound to their row, `history` is; `allergy` and `intolerance` are too, and
    share a context; `legacy` is being adopted, so that plain values are read as well; `region` is under the
    platform's key.
    """

    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True, default=lambda: randbelow(1 << 31))
    clinic: Mapped[str] = mapped_column(String(60))
    ssn: Mapped[str | None] = mapped_column(EncryptedType(String(20), deterministic=True))
    name: Mapped[str | None] = mapped_column(EncryptedType(String(80)))
    nickname: Mapped[str | None] = mapped_column(EncryptedType(String(80)))
    history: Mapped[str | None] = mapped_column(EncryptedType(String(400), row_bound=True))
    allergy: Mapped[str | None] = mapped_column(REACTION)
    intolerance: Mapped[str | None] = mapped_column(REACTION)
    legacy: Mapped[str | None] = mapped_column(EncryptedType(String(80), accept_plaintext=True))
    region: Mapped[str | None] = mapped_column(EncryptedType(String(80), owner="platform"))


TABLE = Base.metadata.tables["patients"]


class Visit(Base):
    __tablename__ = "visits"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(60))
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    note: Mapped[str | None] = mapped_column(EncryptedType(String(80)))
