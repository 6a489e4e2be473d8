"""Worlds whose keyring signs certificates, and a certificate that is the same each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sqlalchemy_cmk.certificates import (
    Certificate,
    CertifiedDek,
    CertifiedFile,
    CertifiedKeys,
    CountedTable,
    CountedValues,
    Observed,
    WrappedBy,
    make_certificate_key,
)
from sqlalchemy_cmk.certificates.document import FORMAT
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.certificate_key import CertificateKey
from tests.support.databases import Database
from tests.support.world import World

# RFC 8032, section 7.1, test 1.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on each database in turn, with a certificate key."""
    made = signing_world(database.url, tmp_path).create()
    yield made
    made.close()


@pytest.fixture
def sqlite_world(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, with a certificate key."""
    made = signing_world(sqlite_database.url, tmp_path).create()
    yield made
    made.close()


def signing_world(url: str, folder: Path) -> World:
    make_certificate_key(folder / "certificate.pem")
    return World(url, folder, revalidate_after=0, certificate_key=f"file:{folder / 'certificate.pem'}")


def key_of(secret: bytes = SECRET) -> CertificateKey:
    private = Ed25519PrivateKey.from_private_bytes(secret)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return CertificateKey(lambda: pem)


def an_observation(state: str, **by_dek: int) -> Observed:
    wrapped = () if state == "destroyed" else (WrappedBy("local:acme", "v1", "A256KW"),)
    dek = CertifiedDek("00" * 8, "randomized", state, "2026-11-28T10:00:00.000000+00:00", "", wrapped)
    keys = CertifiedKeys("ok", "local:acme", 3, True, (dek,))
    table = CountedTable("notes", 2, (CountedValues("text", {"00" * 8: 2, **by_dek}, 0, 0, 0),))
    at = "2026-11-28T11:00:00.000000+00:00"
    return Observed(at, at, keys, (table,), 7, "ab" * 32)


def a_certificate() -> Certificate:
    where = ("local:acme", "", "Zoë", "host process 1", "2 DEKs", 4)
    row = AuditEntry(8, "2026-11-28T11:00:00.5+00:00", "shred", "acme", "", *where, "ab" * 32, "", "cd" * 32)
    return Certificate(
        FORMAT,
        "0e7a4b1c-5d0f-4e6e-9a58-4fb1b6f0a111",
        "shred",
        "acme",
        "Zoë",
        'the contract "4711" has ended \N{WAVING HAND SIGN}',
        "sqlalchemy-cmk 0.1.0",
        an_observation("active"),
        an_observation("destroyed"),
        (row,),
        {"rows": 2},
        (CertifiedFile("notes.jsonl", "notes", 2, "ef" * 32),),
    )
