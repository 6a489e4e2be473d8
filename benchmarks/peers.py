"""The time that sealing adds, against other libraries' encrypted columns.

Every value is read after it is loaded, since some libraries decrypt only then.
"""

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks.tables import Database, Row, patient_rows, patients, plain, sealed
from benchmarks.timing import Contestant, Rounds, timed
from benchmarks.writing import add_all, write

KEY = base64.urlsafe_b64encode(os.urandom(32)).decode()


class PeersBase(DeclarativeBase):
    """The tables of the other libraries."""


def read(found: list[Any]) -> list[Any]:
    """Read both values of each object."""
    return [(one.name, one.ssn) for one in found]


def decrypt(found: list[Any]) -> list[Any]:
    """Decrypt both values of each object."""
    return [(one.name.decrypt(), one.ssn.decrypt()) for one in found]


@dataclass
class Contender:
    """A model, and how its values are read."""

    model: Any
    read: Callable[[list[Any]], list[Any]] = read


def peer(name: str, type_: Callable[[], Any], mixin: type | None = None) -> Any:
    """Return a model whose columns another library encrypts."""
    return patients(name, type_, bases=(mixin, PeersBase) if mixin else (PeersBase,))


def sqlalchemy_utils_gcm() -> Contender:
    from sqlalchemy_utils import StringEncryptedType
    from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine

    return Contender(peer("utils_gcm", lambda: StringEncryptedType(String, KEY, AesGcmEngine, "pkcs5")))


def sqlalchemy_utils_fernet() -> Contender:
    from sqlalchemy_utils import StringEncryptedType
    from sqlalchemy_utils.types.encrypted.encrypted_type import FernetEngine

    return Contender(peer("utils_fernet", lambda: StringEncryptedType(String, KEY, FernetEngine)))


def advanced_alchemy() -> Contender:
    from advanced_alchemy.types import EncryptedString

    return Contender(peer("advanced_alchemy", lambda: EncryptedString(key=KEY)))


def sealed_fields() -> Contender:
    from sealed_fields import SealedFields
    from sealed_fields.sqlalchemy import SealedText

    fields = SealedFields({"bench": {"key": KEY}})
    return Contender(peer("sealed_fields", lambda: SealedText(fields)))


def sqlalchemy_encrypted_field() -> Contender:
    from sqlalchemy_encrypted_field import EncryptedText, configure

    configure(base64.b64encode(os.urandom(32)).decode())
    return Contender(peer("encrypted_field", EncryptedText), decrypt)


def pydantic_encryption() -> Contender:
    from pydantic_encryption.config import settings
    from pydantic_encryption.integrations.sqlalchemy import DeferredDecryptMixin, SQLAlchemyEncryptedValue
    from pydantic_encryption.types import EncryptionMethod

    settings.ENCRYPTION_KEY, settings.ENCRYPTION_METHOD = (
        Fernet.generate_key().decode(),
        EncryptionMethod.FERNET,
    )
    return Contender(peer("pydantic_encryption", SQLAlchemyEncryptedValue, DeferredDecryptMixin))


PEERS = {
    "sqlalchemy-utils AES-GCM": sqlalchemy_utils_gcm,
    "sqlalchemy-utils Fernet": sqlalchemy_utils_fernet,
    "advanced-alchemy": advanced_alchemy,
    "sealed-fields": sealed_fields,
    "sqlalchemy-encrypted-field, read": sqlalchemy_encrypted_field,
    "pydantic-encryption, read": pydantic_encryption,
}
OURS = {
    "plain text": Contender(patients("peers_plain", plain)),
    "platform table": Contender(patients("peers_platform", sealed)),
    "50 tenants": Contender(patients("peers_tenants", sealed, "clinic_id")),
}


def installed() -> dict[str, Contender]:
    """Return the peers that are installed; print the names of the others."""
    found = {}
    for name, make in PEERS.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"  {name} is not installed: {error}")
    return found


def peers(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the time added against the best peer's, and everyone's ratio to plain text."""
    others = installed()
    if not others:
        return {}
    contenders, rows = OURS | others, patient_rows(count, 50)
    PeersBase.metadata.create_all(database.engine)
    inserts: dict[str, Contestant] = {}
    loads: dict[str, Contestant] = {}
    for name, contender in contenders.items():
        database.fill(contender.model, rows)
        inserts[name] = write(database, add_all, contender.model, rows)
        loads[name] = _load(database, contender, rows)
    figures = {}
    for kind, contestants, part in (("ORM load", loads, 3), ("add_all", inserts, 5)):
        seconds = Rounds(contestants, max(rounds // part, 1))
        added = {name: seconds.added(name, "plain text") for name in contenders}
        best = min(others, key=lambda name: median(added[name]))
        for ours, owners in (("platform table", ""), ("50 tenants", ", 50 tenants")):
            pairs = zip(added[ours], added[best], strict=True)
            figures[f"{kind}{owners}: time added, against the best peer's"] = median(a / b for a, b in pairs)
        for name in contenders:
            figures[f"{kind}, {name}, against plain text"] = seconds.ratio(name, "plain text")
    return figures


def _load(database: Database, contender: Contender, rows: list[Row]) -> Contestant:
    def run() -> float:
        with Session(database.engine) as session:
            seconds, values = timed(
                lambda: contender.read(list(session.scalars(select(contender.model)).all()))
            )
            assert len(values) == len(rows) and values[-1] == (rows[-1]["name"], rows[-1]["ssn"])
            return seconds

    return run
