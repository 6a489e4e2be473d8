"""Stored values that were altered: a column refuses them by name, alone and among values that open."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, LargeBinary, MetaData, String, Table, create_engine

from sqlalchemy_cmk import EncryptedType, Keyring, TamperedError
from sqlalchemy_cmk.columns.reading import ColumnReader, Owners
from sqlalchemy_cmk.format import Suite
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database

PLAINTEXT = b"078-05-1120"


class StoredColumn:
    """One sealed column as a fetch meets it: stored bytes go in, a value or an error comes out."""

    def __init__(self, url: str, folder: Path, suite: Suite, declared: Any) -> None:
        metadata = MetaData()
        type_ = EncryptedType(declared, deterministic=suite is Suite.SIV)
        table = Table("patients", metadata, Column("ssn", type_))
        self.engine = create_engine(url)
        provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(self.engine, platform_key="local:pmk", providers=[provider])
        self.keyring.protect(metadata)
        metadata.create_all(self.engine)
        self.column = table.c.ssn.type.sealed_column
        self.dek = self.keyring.active("", Purpose.of(suite))
        self.good = self.seal(b"good")

    def seal(self, plaintext: bytes) -> bytes:
        return self.dek.cipher(self.column.context).seal(plaintext)

    def open(self, stored: bytes) -> Any:
        """Open a value alone, then among others; both agree."""
        reader = ColumnReader(self.column, self.keyring.keys)
        try:
            value = reader.read_one(stored, "")
        except TamperedError as error:
            with pytest.raises(TamperedError) as caught:
                reader.read([self.good, stored, self.good], Owners(lambda _: ""))
            assert str(caught.value) == str(error)
            raise
        assert reader.read([self.good, stored, None], Owners(lambda _: ""))[1:] == [value, None]
        return value

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture(params=Suite, ids=lambda suite: suite.name)
def column(
    request: pytest.FixtureRequest, sqlite_database: Database, tmp_path: Path
) -> Iterator[StoredColumn]:
    made = StoredColumn(sqlite_database.url, tmp_path, request.param, LargeBinary())
    yield made
    made.close()


def test_every_flipped_bit_of_a_stored_value_is_refused(column: StoredColumn) -> None:
    sealed = column.seal(PLAINTEXT)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            column.open(bytes(flipped))
    assert column.open(sealed) == PLAINTEXT


def test_every_truncation_of_a_stored_value_is_refused(column: StoredColumn) -> None:
    sealed = column.seal(PLAINTEXT)
    for length in range(len(sealed)):
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            column.open(sealed[:length])
    assert column.open(sealed) == PLAINTEXT


def test_every_other_suite_byte_of_a_stored_value_is_refused(column: StoredColumn) -> None:
    sealed = column.seal(PLAINTEXT)
    for suite in set(range(256)) - {sealed[0]}:
        with pytest.raises(TamperedError):
            column.open(bytes((suite,)) + sealed[1:])


def test_random_bytes_and_plain_text_are_refused(column: StoredColumn) -> None:
    header = column.seal(b"")[:9]
    for other in (b"", PLAINTEXT, "Zoë".encode() * 20, os.urandom(60), header + os.urandom(60)):
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            column.open(other)


def test_the_error_names_the_dek_and_shows_no_plaintext(column: StoredColumn) -> None:
    sealed = column.seal(PLAINTEXT)
    with pytest.raises(TamperedError) as caught:
        column.open(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert column.dek.id.hex() in str(caught.value)
    assert PLAINTEXT.decode() not in repr(caught.value) and caught.value.__cause__ is None


def test_a_text_column_opens_what_it_sealed_and_refuses_bytes_that_are_no_text(
    sqlite_database: Database, tmp_path: Path
) -> None:
    column = StoredColumn(sqlite_database.url, tmp_path, Suite.GCM, String())
    assert column.open(column.seal("Zoë".encode())) == "Zoë"
    with pytest.raises(TamperedError, match="not a value of the declared type"):
        column.open(column.seal(b"\xff\xfe"))
    column.close()
