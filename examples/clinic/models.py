"""The staff, the patients, their appointments and their documents, sealed under their clinic's key.

``clinic`` says whose row it is. Who may sign in, and when something was, is not sealed.
"""

from datetime import date, datetime
from uuid import UUID, uuid4

from sqlalchemy import Date, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.search import Exact, NGram, Prefix, Range, fold

OLDEST, NEWEST = date(1900, 1, 1), date(2100, 1, 1)


class Base(DeclarativeBase):
    """The application's models."""


class Staff(Base):
    """Somebody who signs in. The platform's operator is a tenant as well, ``operations``.

    The e-mail address is found before anybody knows whose it is, so its tokens are made under the platform's
    key. The address itself is sealed under the clinic's.
    """

    __tablename__ = "staff"
    __cmk_tenant__ = "clinic"

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    email: Mapped[str] = mapped_column(
        EncryptedType(String(120), index=[Exact(normalize=fold, unique=True, across_tenants=True)])
    )
    name: Mapped[str] = mapped_column(EncryptedType(String(80)))
    password: Mapped[str] = mapped_column(String(200))
    officer: Mapped[bool]


class SignIn(Base):
    """A browser in which somebody is signed in. The cookie holds a secret, this row its hash."""

    __tablename__ = "sign_ins"
    __cmk_tenant__ = None

    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    expires_at: Mapped[float]


class Failure(Base):
    """A sign-in that failed: of which account or address, as a keyed hash, and when."""

    __tablename__ = "sign_in_failures"
    __cmk_tenant__ = None

    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float]


class Patient(Base):
    """A patient of one clinic. Each value is bound to its row, so none opens where it was copied to another.

    ``ref`` names the row for that: it is made here, while the database makes ``id``.
    """

    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    __cmk_row__ = ("ref",)

    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[UUID] = mapped_column(default=uuid4, unique=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80), row_bound=True, index=[Prefix(), NGram(3)]))
    number: Mapped[str] = mapped_column(EncryptedType(String(11), row_bound=True, index=[Exact(unique=True)]))
    born: Mapped[date] = mapped_column(EncryptedType(Date, row_bound=True, index=[Range(OLDEST, NEWEST)]))
    notes: Mapped[str] = mapped_column(EncryptedType(Text(2000), row_bound=True))


class Appointment(Base):
    """When a patient comes, and why. The clinic's calendar asks for the time, so it is not sealed."""

    __tablename__ = "appointments"
    __cmk_tenant__ = "clinic"

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(EncryptedType(String(200)))


class Document(Base):
    """A file about a patient; its bytes are in parts."""

    __tablename__ = "documents"
    __cmk_tenant__ = "clinic"

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    title: Mapped[str] = mapped_column(EncryptedType(String(120)))
    kind: Mapped[str] = mapped_column(String(40))
    size: Mapped[int]


class DocumentPart(Base):
    """A part of a document, bound to its row: parts that somebody puts in another order do not open."""

    __tablename__ = "document_parts"
    __cmk_tenant__ = "clinic"

    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    clinic: Mapped[str] = mapped_column(String(40))
    content: Mapped[bytes] = mapped_column(EncryptedType(LargeBinary(256 * 1024), row_bound=True))
