"""Documents: taken in parts, each sealed by itself, so that neither a read nor a write holds a whole file.

What a file is, its first bytes decide. Its name and the type that the browser gave are not believed, and it
goes out as an attachment of that type only.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from typing import IO

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from examples.clinic.models import Document, DocumentPart, Patient
from examples.clinic.services.patients import NotValid

PART = 256 * 1024
LARGEST = 10 * 1024 * 1024
TITLE = 120
MAGIC = {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
NOT_TAKEN = "Choose a PDF, a PNG or JPEG picture, or a text: this file is none, whatever its name."
ENDINGS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg", "text/plain": "txt"}


class Incomplete(Exception):
    """Parts of a document are missing."""


def kind_of(beginning: bytes) -> str:
    """Return the type of a file, by its first bytes; a text where they are of no other that is taken.

    Raises:
        NotValid: it is markup, which browsers may run.
    """
    for magic, kind in MAGIC.items():
        if beginning.startswith(magic):
            return kind
    if beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise NotValid(NOT_TAKEN)
    return "text/plain"


class _Text:
    """Checks that bytes are a text, also where a part ends in the middle of a character."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")()

    def check(self, part: bytes, *, final: bool) -> None:
        try:
            text = self._decoder.decode(part, final)
        except UnicodeDecodeError:
            raise NotValid(NOT_TAKEN) from None
        if not all(one.isprintable() or one in "\r\n\t\ufeff" for one in text):
            raise NotValid(NOT_TAKEN)


def of_patient(db: Session, patient: Patient) -> Sequence[Document]:
    mine = (Document.patient_id == patient.id, Document.clinic == patient.clinic)
    return db.scalars(select(Document).where(*mine).order_by(Document.id)).all()


def keep(db: Session, patient: Patient, title: str, file: IO[bytes]) -> None:
    """Seal a file, part by part, in one transaction.

    Raises:
        NotValid: it is empty, too large, or not of a type that is taken.
    """
    part = file.read(PART)
    if not part:
        raise NotValid("Choose a file that is not empty.")
    clinic, kind = patient.clinic, kind_of(part)
    title = " ".join(title.split())[:TITLE] or "Untitled"
    document = Document(clinic=clinic, patient_id=patient.id, title=title, kind=kind, size=0)
    db.add(document)
    try:
        db.flush()
        document.size = _keep_parts(db, document, file, part)
    except NotValid:
        db.rollback()
        raise
    db.commit()


def _keep_parts(db: Session, document: Document, file: IO[bytes], part: bytes) -> int:
    """Seal the parts of a file, of which the first was read, and return its size in bytes."""
    size, place = 0, 0
    text = _Text() if document.kind == "text/plain" else None
    while part:
        following = file.read(PART)
        size += len(part)
        if size > LARGEST:
            raise NotValid("Choose a file of 10 MB at most.")
        if text is not None:
            text.check(part, final=not following)
        row = {"document_id": document.id, "place": place, "clinic": document.clinic, "content": part}
        db.execute(insert(DocumentPart), row)
        place, part = place + 1, following
    return size


def one(db: Session, clinic: str, document_id: int) -> Document | None:
    return db.scalar(select(Document).where(Document.id == document_id, Document.clinic == clinic))


def parts(db: Session, document: Document) -> Iterator[bytes]:
    """Give a document's bytes, part by part.

    Raises:
        Incomplete: somebody has removed parts of it.
    """
    mine = (DocumentPart.document_id == document.id, DocumentPart.clinic == document.clinic)
    # With what a part is bound to: its document and its place.
    wanted = select(DocumentPart.document_id, DocumentPart.place, DocumentPart.content).where(*mine)
    given, size = 0, document.size
    for place in range(-(-size // PART)):
        row = db.execute(wanted.where(DocumentPart.place == place)).one_or_none()
        if row is None:
            raise Incomplete(f"part {place} is missing")
        content = row.content
        given += len(content)
        yield content
    if given != size:
        raise Incomplete(f"{size} bytes were stored, and {given} are there")


def remove(db: Session, document: Document) -> None:
    db.execute(delete(DocumentPart).where(DocumentPart.document_id == document.id))
    db.delete(document)
    db.commit()
