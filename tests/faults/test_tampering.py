"""A stored value that is not what the library wrote there is named wherever it is read, never opened."""

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import text

from tests.faults.conftest import READERS, Clinics, by_orm, refusal

OVERHEAD = {"ssn": 37, "email": 25}
BOTH_SUITES = pytest.mark.parametrize("column", OVERHEAD)


def refused(clinics: Clinics, column: str, number: int = 1) -> str:
    """What every way of reading a value says: that it was tampered with, and where it is."""
    (message,) = {refusal(partial(read, clinics, column, number)) for read in READERS.values()}
    assert message.startswith(f"patients.{column}: ")
    return message


def damaged(clinics: Clinics, column: str, variants: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Put each variant into a row of its own and give out their numbers."""
    rows = [{"i": 100 + n, "stored": variant} for n, variant in enumerate(variants)]
    with clinics.vault.engine.begin() as connection:
        insert = f"INSERT INTO patients (id, clinic, {column}) VALUES (:i, 'acme', :stored)"
        connection.execute(text(insert), rows)
    clinics.vault.restart()
    return ((row["i"], row["stored"]) for row in rows)


def flipped(stored: bytes) -> list[bytes]:
    return [
        stored[:at] + bytes([stored[at] ^ 1 << bit]) + stored[at + 1 :]
        for at in range(len(stored))
        for bit in range(8)
    ]


@BOTH_SUITES
def test_a_flipped_bit_is_named(clinics: Clinics, column: str) -> None:
    stored = clinics.stored(column, 1)
    for number, variant in damaged(clinics, column, flipped(stored)):
        message = refused(clinics, column, number)
        assert variant[0] != stored[0] or variant[1:9].hex() in message
    assert by_orm(clinics, column, 1) == clinics.value(column, 1)


@BOTH_SUITES
def test_a_truncated_value_is_named(clinics: Clinics, column: str) -> None:
    stored = clinics.stored(column, 1)
    for number, variant in damaged(clinics, column, [stored[:length] for length in range(len(stored))]):
        message = refused(clinics, column, number)
        assert len(variant) < OVERHEAD[column] or stored[1:9].hex() in message


@BOTH_SUITES
def test_a_value_cut_within_its_overhead_names_its_dek_while_the_header_is_whole(
    clinics: Clinics, column: str
) -> None:
    stored = clinics.stored(column, 1)
    cut = [stored[:length] for length in range(9, OVERHEAD[column])]
    for number, _ in damaged(clinics, column, cut):
        assert stored[1:9].hex() in refused(clinics, column, number)


@BOTH_SUITES
def test_a_lengthened_value_is_named(clinics: Clinics, column: str) -> None:
    stored = clinics.stored(column, 1)
    longer = [stored + b"\0", stored + stored[-16:], stored[:9] + b"\0" + stored[9:], b"\1" + stored]
    for number, _ in damaged(clinics, column, longer):
        refused(clinics, column, number)


@BOTH_SUITES
def test_a_value_that_claims_the_other_suite_is_named(clinics: Clinics, column: str) -> None:
    stored = clinics.stored(column, 1)
    clinics.overwrite(column, 1, bytes([stored[0] ^ 3]) + stored[1:])
    assert stored[1:9].hex() in refused(clinics, column)


PLAINTEXTS = [b"078-05-1120", b"", b"x" * 150, b"\1", b"\1" * 60, b"\2" * 60, bytes(60)]


@BOTH_SUITES
def test_a_plaintext_where_a_sealed_value_belongs_is_named(clinics: Clinics, column: str) -> None:
    for plaintext in PLAINTEXTS:
        clinics.overwrite(column, 1, plaintext)
        message = refused(clinics, column)
        assert "078-05-1120" not in message and "xxx" not in message
    assert by_orm(clinics, column, 2) == clinics.value(column, 2)


@BOTH_SUITES
def test_a_value_of_another_type_is_named_where_the_database_allows_it(
    sqlite_clinics: Clinics, column: str
) -> None:
    for value in ("078-05-1120", "", 78051120, 0, 1.5):
        sqlite_clinics.overwrite(column, 1, value)
        refused(sqlite_clinics, column)


MOVES = [("phone", "ssn"), ("ssn", "phone"), ("city", "email"), ("email", "ssn"), ("ssn", "email")]


@pytest.mark.parametrize("move", MOVES, ids=" to ".join)
def test_a_value_moved_to_another_column_of_its_row_is_named(clinics: Clinics, move: tuple[str, str]) -> None:
    source, target = move
    moved = clinics.stored(source, 1)
    clinics.overwrite(target, 1, moved)
    assert moved[1:9].hex() in refused(clinics, target)


def test_a_value_moved_to_another_table_is_named(clinics: Clinics) -> None:
    moved = clinics.stored("name", 1, "doctors")
    clinics.overwrite("ssn", 1, moved)
    assert moved[1:9].hex() in refused(clinics, "ssn")
