"""What both applications of a soak serve: notes of tenants, one by one, and a page over all tenants."""

import json
from collections.abc import Iterable

from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import CmkError, EncryptedType, KeyRevoked, KeyUnavailable, Sealed

SETTING = "SOAK_SETTING"
OK = 200
REVOKED = 403
UNAVAILABLE = 503
FAILED = 500


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    __cmk_tenant__ = "tenant"
    tenant: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(EncryptedType(String(100), on_revoked="seal"))


# The first note of each tenant.
PAGE = select(Note).where(Note.number == 1).order_by(Note.tenant)


def shown(note: Note) -> str:
    """Return a note's text.

    Raises:
        KeyRevoked: it is sealed.
    """
    if isinstance(note.text, Sealed):
        raise KeyRevoked(note.text.reason)
    return note.text


def listed(notes: Iterable[Note]) -> str:
    """Return a page: each tenant's text, or null where it is sealed."""
    page = {note.tenant: None if isinstance(note.text, Sealed) else note.text for note in notes}
    return json.dumps(page, ensure_ascii=False)


def refusal(error: CmkError) -> tuple[str, int]:
    """Return what a client gets for an error, and the status."""
    statuses = {KeyRevoked: REVOKED, KeyUnavailable: UNAVAILABLE}
    status = next((status for kind, status in statuses.items() if isinstance(error, kind)), FAILED)
    return f"{type(error).__name__}: {error}", status
