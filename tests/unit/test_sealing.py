"""Sealed values: what they look like, and that nothing but the value that was sealed opens."""

import os
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, LargeBinary, MetaData, String, Table, create_engine

from sqlalchemy_cmk import EncryptedType, Keyring, TamperedError
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.sealing import (
    ColumnCipher,
    NotAuthentic,
    NotSealed,
    Suite,
    associated_data,
    column_key,
    header_of,
    nonces,
    parse_header,
)
from tests.support.databases import Database

DEK = bytes(range(32))
DEK_ID = bytes.fromhex("a1a2a3a4a5a6a7a8")
CONTEXT = "patients.ssn"
PLAINTEXT = b"078-05-1120"
each_suite = pytest.mark.parametrize("suite", Suite, ids=lambda suite: suite.name)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
suites = st.sampled_from(Suite)
deks = st.binary(min_size=32, max_size=32)
dek_ids = st.binary(min_size=8, max_size=8)
contexts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def cipher(suite: Suite, dek: bytes = DEK, dek_id: bytes = DEK_ID, context: str = CONTEXT) -> ColumnCipher:
    return ColumnCipher(column_key(dek, suite, context), header_of(suite, dek_id), context)


@each_suite
def test_a_sealed_value_begins_with_the_suite_and_the_dek_id(suite: Suite) -> None:
    sealed = cipher(suite).seal(PLAINTEXT)
    assert sealed[:9] == bytes((suite,)) + DEK_ID == cipher(suite).header
    assert parse_header(sealed) == (suite, DEK_ID)
    assert PLAINTEXT not in sealed


def test_the_numbers_of_the_suites_and_their_sizes_are_fixed() -> None:
    assert {suite.name: (suite.value, suite.key_bytes, suite.overhead) for suite in Suite} == {
        "GCM": (1, 32, 37),
        "SIV": (2, 64, 25),
    }
    for suite in Suite:
        for length in (0, 1, 15, 16, 17, 100_000):
            assert len(cipher(suite).seal(bytes(length))) == length + suite.overhead


def test_a_value_is_bound_to_the_format_the_header_and_the_context() -> None:
    header = header_of(Suite.GCM, DEK_ID)
    assert associated_data(header, "größe.ü") == b"cmk1\x01" + DEK_ID + "größe.ü".encode()


@unhurried
@given(suites, deks, dek_ids, contexts, st.binary())
@example(Suite.SIV, DEK, DEK_ID, CONTEXT, b"")
@example(Suite.GCM, DEK, DEK_ID, CONTEXT, b"")
def test_what_is_sealed_opens(suite: Suite, dek: bytes, dek_id: bytes, context: str, plain: bytes) -> None:
    sealed = cipher(suite, dek, dek_id, context).seal(plain)
    assert cipher(suite, dek, dek_id, context).open(sealed) == plain


@unhurried
@given(suites, contexts, contexts, st.binary())
@example(Suite.GCM, "a.bc", "a.b", b"x")
@example(Suite.SIV, "patients.ssn", "Patients.ssn", b"")
def test_a_value_does_not_open_in_another_context(suite: Suite, one: str, other: str, plain: bytes) -> None:
    sealed = cipher(suite, context=one).seal(plain)
    if one != other:
        with pytest.raises(NotAuthentic):
            cipher(suite, context=other).open(sealed)


@each_suite
def test_the_context_is_in_the_associated_data_as_well_as_in_the_key(suite: Suite) -> None:
    key, header = column_key(DEK, suite, CONTEXT), header_of(suite, DEK_ID)
    sealed = ColumnCipher(key, header, CONTEXT).seal(PLAINTEXT)
    with pytest.raises(NotAuthentic):
        ColumnCipher(key, header, "patients.email").open(sealed)


@each_suite
def test_columns_and_suites_have_keys_of_their_own(suite: Suite) -> None:
    keys = {column_key(DEK, one, context)[:32] for one in Suite for context in ("a.b", "a.c", "b.b")}
    assert len(keys) == 6 and len(column_key(DEK, suite, "a.b")) == suite.key_bytes


@each_suite
def test_a_value_does_not_open_under_another_dek_or_another_dek_id(suite: Suite) -> None:
    sealed = cipher(suite).seal(PLAINTEXT)
    for other in (cipher(suite, dek=bytes(32)), cipher(suite, dek_id=bytes(8))):
        with pytest.raises(NotAuthentic):
            other.open(sealed)


@each_suite
def test_a_value_does_not_open_under_the_other_suite(suite: Suite) -> None:
    sealed = cipher(suite).seal(PLAINTEXT)
    with pytest.raises(NotAuthentic):
        cipher(Suite(3 - suite)).open(sealed)


@pytest.mark.parametrize("first", [0, *range(3, 256)])
def test_an_unknown_suite_is_not_sealed(first: int) -> None:
    with pytest.raises(NotSealed, match="known suite"):
        parse_header(bytes((first,)) + cipher(Suite.GCM).seal(PLAINTEXT)[1:])


@pytest.mark.parametrize("other", [None, "", "x" * 40, 1, bytearray(40), memoryview(b"\x01" * 40), b""])
def test_what_is_not_bytes_of_a_known_suite_is_not_sealed(other: object) -> None:
    with pytest.raises(NotSealed):
        parse_header(other)


@each_suite
def test_a_value_shorter_than_its_overhead_is_not_sealed(suite: Suite) -> None:
    empty = cipher(suite).seal(b"")
    assert parse_header(empty) == (suite, DEK_ID)
    for length in range(1, suite.overhead):
        with pytest.raises(NotSealed, match=f"shorter than the {suite.overhead} bytes"):
            parse_header(empty[:length])


@each_suite
@unhurried
@given(plain=st.binary(max_size=40), more=st.binary(min_size=1, max_size=40))
def test_a_value_with_bytes_added_or_missing_does_not_open(suite: Suite, plain: bytes, more: bytes) -> None:
    sealed = cipher(suite).seal(plain)
    for other in (sealed + more, *(sealed[:length] for length in range(9, len(sealed)))):
        with pytest.raises(NotAuthentic):
            cipher(suite).open(other)


@unhurried
@given(plain=st.binary())
def test_a_deterministic_value_is_sealed_to_equal_bytes_and_another_is_not(plain: bytes) -> None:
    sealed = cipher(Suite.SIV).seal(plain)
    assert cipher(Suite.SIV).seal(plain) == sealed
    more = cipher(Suite.SIV).seal(plain + b"\x00")
    elsewhere = cipher(Suite.SIV, context="patients.email").seal(plain)
    assert len({one[9:25] for one in (sealed, more, elsewhere)}) == 3


SHARED = cipher(Suite.GCM)


def one_by_one(count: int) -> list[bytes]:
    return [SHARED.seal(PLAINTEXT)[9:21] for _ in range(count)]


def in_a_batch(count: int) -> list[bytes]:
    return [SHARED.seal_with(PLAINTEXT, nonce)[9:21] for nonce in nonces(count)]


each_way = pytest.mark.parametrize("sealed", [one_by_one, in_a_batch])


@each_way
def test_nonces_never_repeat(sealed: Callable[[int], list[bytes]]) -> None:
    made = sealed(100_000)
    assert len(set(made)) == len(made) == 100_000
    # Each bit of a nonce takes both values: no part of it is a constant or a short counter.
    ones, zeros = 0, 0
    for nonce in made:
        ones, zeros = ones | int.from_bytes(nonce), zeros | ~int.from_bytes(nonce)
    assert ones & zeros & (2**96 - 1) == 2**96 - 1


@each_way
def test_nonces_do_not_repeat_in_forked_children(sealed: Callable[[int], list[bytes]]) -> None:
    made = sealed(100)
    with get_context("fork").Pool(4) as pool:
        for part in pool.map(sealed, [100] * 8, chunksize=1):
            made += part
    assert len(set(made)) == len(made) == 900


@each_suite
def test_what_is_sealed_in_a_batch_opens(suite: Suite) -> None:
    one = cipher(suite)
    plaintexts = [bytes([n]) * n for n in range(5)]
    sealed = [one.seal_with(*both) for both in zip(plaintexts, nonces(5), strict=True)]
    assert [one.open(value) for value in sealed] == plaintexts


class Place:
    """One sealed column as a result meets it: stored bytes go in, a value or an error comes out."""

    def __init__(self, url: str, folder: Path, suite: Suite, declared: Any) -> None:
        self.type = EncryptedType(declared, deterministic=suite is Suite.SIV)
        metadata = MetaData()
        Table("patients", metadata, Column("ssn", self.type))
        self.engine = create_engine(url)
        provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(self.engine, platform_key="local:pmk", providers=[provider])
        self.keyring.protect(metadata)
        metadata.create_all(self.engine)
        self.open: Callable[[bytes], Any] = self.type.result_processor(self.engine.dialect, None)
        self.dek = self.keyring.active("", Purpose.of(suite))

    def seal(self, plaintext: bytes) -> bytes:
        return self.dek.cipher("patients.ssn").seal(plaintext)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture(params=Suite, ids=lambda suite: suite.name)
def place(request: pytest.FixtureRequest, sqlite_database: Database, tmp_path: Path) -> Iterator[Place]:
    made = Place(sqlite_database.url, tmp_path, request.param, LargeBinary())
    yield made
    made.close()


def test_every_flipped_bit_of_a_stored_value_is_refused(place: Place) -> None:
    sealed = place.seal(PLAINTEXT)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            place.open(bytes(flipped))
        if bit % 40 == 0:
            # Opened once, the key is in the column's fast table: the flipped value meets both ways.
            assert place.open(sealed) == PLAINTEXT


def test_every_truncation_of_a_stored_value_is_refused(place: Place) -> None:
    sealed = place.seal(PLAINTEXT)
    for length in range(len(sealed)):
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            place.open(sealed[:length])
    assert place.open(sealed) == PLAINTEXT


def test_every_other_suite_byte_of_a_stored_value_is_refused(place: Place) -> None:
    sealed = place.seal(PLAINTEXT)
    for suite in set(range(256)) - {sealed[0]}:
        with pytest.raises(TamperedError):
            place.open(bytes((suite,)) + sealed[1:])


def test_random_bytes_and_plain_text_are_refused(place: Place) -> None:
    header = place.seal(b"")[:9]
    for other in (b"", PLAINTEXT, "Zoë".encode() * 20, os.urandom(60), header + os.urandom(60)):
        with pytest.raises(TamperedError, match=r"^patients\.ssn: "):
            place.open(other)


def test_the_error_names_the_dek_and_shows_no_plaintext(place: Place) -> None:
    sealed = place.seal(PLAINTEXT)
    with pytest.raises(TamperedError) as caught:
        place.open(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert place.dek.id.hex() in str(caught.value)
    assert PLAINTEXT.decode() not in repr(caught.value) and caught.value.__cause__ is None


def test_a_text_column_opens_what_it_sealed_and_refuses_bytes_that_are_no_text(
    sqlite_database: Database, tmp_path: Path
) -> None:
    place = Place(sqlite_database.url, tmp_path, Suite.GCM, String())
    for _ in range(2):
        assert place.open(place.seal("Zoë".encode())) == "Zoë"
        with pytest.raises(TamperedError, match="no value of the declared type"):
            place.open(place.seal(b"\xff\xfe"))
    place.close()
