"""Patients of clinics: sealed columns of each kind."""

from base64 import urlsafe_b64encode
from secrets import randbelow

from cryptography.fernet import Fernet
from sqlalchemy import Dialect, ForeignKey, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType

REACTION = EncryptedType(String(80), row_bound=True, context="reaction")


FERNET = Fernet(urlsafe_b64encode(bytes(32)))


class OwnFernet(TypeDecorator[str]):
    """What the application encrypted values by before."""

    impl, cache_ok = String, True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value and FERNET.decrypt(value.encode()).decode()


class Base(DeclarativeBase):
    pass


class Patient(Base):
    """Sealed columns of each kind.

    `name` and `nickname` are not bound to their row, `history` is; `allergy` and `intolerance` are too, and
    share a context; `legacy` and `imported` are being adopted, so that plain values are read as well, and
    those that were encrypted before; `region` is under the platform's key.
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
    imported: Mapped[str | None] = mapped_column(EncryptedType(String(80), accept_legacy=[OwnFernet()]))
    region: Mapped[str | None] = mapped_column(EncryptedType(String(80), owner="platform"))


TABLE = Base.metadata.tables["patients"]


class Visit(Base):
    __tablename__ = "visits"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(60))
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    note: Mapped[str | None] = mapped_column(EncryptedType(String(80)))
