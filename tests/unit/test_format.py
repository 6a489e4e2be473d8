"""The sealed value: its layout, what it is bound to, and that nothing but the value that was sealed opens."""

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ciphers as sealing
from sqlalchemy_cmk.ciphers import ColumnCipher, cipher_for, nonces, open_each
from sqlalchemy_cmk.format import (
    Context,
    NotAuthentic,
    NotSealed,
    Suite,
    associated_data,
    column_key,
    header_of,
    is_header,
    parse_header,
    row_identity,
)
from sqlalchemy_cmk.runtime.secret import Secret

DEK = bytes(range(32))
DEK_ID = bytes.fromhex("a1a2a3a4a5a6a7a8")
SSN = Context.of_column(None, "patients", "ssn")
EMAIL = Context.of_column(None, "patients", "email")
FIRST_ROW, SECOND_ROW = row_identity([b"\x01"]), row_identity([b"\x02"])
PLAINTEXT = b"078-05-1120"
CLOSED = (InvalidTag, ValueError)

each_suite = pytest.mark.parametrize("suite", Suite, ids=lambda suite: suite.name)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
suites = st.sampled_from(Suite)
deks = st.binary(min_size=32, max_size=32)
dek_ids = st.binary(min_size=8, max_size=8)
# Few letters, so that names which differ only in where one ends are common; and any text.
names = st.text("ab.\x00\x01", max_size=4) | st.text(st.characters(exclude_categories=["Cs"]))
columns = st.builds(Context.of_column, st.none() | names, names, names)
contexts = columns | st.builds(Context.of_name, names.filter(bool))
keys = st.lists(st.text("ab\x00\x01\x02", max_size=3).map(str.encode) | st.binary(), min_size=1, max_size=5)
identities = keys.map(row_identity)
bound = st.just(b"") | identities


def cipher(suite: Suite, dek: bytes = DEK, dek_id: bytes = DEK_ID, context: Context = SSN) -> ColumnCipher:
    return cipher_for(column_key(Secret(dek), suite, context), header_of(suite, dek_id), context)


def closed(one: ColumnCipher, sealed: bytes, identity: bytes = b"") -> bool:
    """Return whether a value stays closed, alone and in a batch."""
    with pytest.raises(NotAuthentic):
        one.open(sealed, identity)
    if sealed.startswith(one.header):  # the caller of the batch functions has checked it
        with pytest.raises(CLOSED):
            list(one.open_all([sealed], [identity]))
        with pytest.raises(CLOSED):
            list(open_each([one.opener], [sealed], [identity]))
        if not identity:
            with pytest.raises(CLOSED):
                list(one.open_all([sealed]))
            with pytest.raises(CLOSED):
                list(open_each([one.opener], [sealed]))
    return True


# Layout


def test_the_numbers_of_the_suites_and_their_sizes_are_fixed() -> None:
    assert {suite.name: (suite.value, suite.key_bytes, suite.overhead) for suite in Suite} == {
        "GCM": (1, 32, 37),
        "SIV": (2, 64, 25),
    }
    for suite in Suite:
        for length in (0, 1, 15, 16, 17, 100_000):
            assert len(cipher(suite).seal(bytes(length), FIRST_ROW)) == length + suite.overhead


@each_suite
def test_a_sealed_value_begins_with_the_suite_and_the_dek_id(suite: Suite) -> None:
    sealed = cipher(suite).seal(PLAINTEXT)
    assert sealed[:9] == bytes((suite,)) + DEK_ID == cipher(suite).header
    assert parse_header(sealed) == (suite, DEK_ID)
    assert is_header(sealed[:9]) and not is_header(sealed[:8]) and not is_header(sealed[:10])
    assert PLAINTEXT not in sealed


def test_a_value_is_bound_to_the_format_the_header_the_context_and_the_row() -> None:
    header = header_of(Suite.GCM, DEK_ID)
    context = Context.of_column("clinic", "größe", "ü")
    assert context.data == b"\x00\x00\x06clinic\x00\x07" + "größe".encode() + b"\x00\x02\xc3\xbc"
    assert Context.of_name("person.email").data == b"\x01\x00\x0cperson.email"
    assert row_identity([b"\x07", b"", b"acme"]) == b"\x03\x00\x01\x07\x00\x00\x00\x04acme"
    assert associated_data(header, context) == b"cmk1\x01" + DEK_ID + context.data
    assert associated_data(header, context, FIRST_ROW) == b"cmk1\x01" + DEK_ID + context.data + FIRST_ROW
    assert cipher(Suite.GCM, context=context).aad == associated_data(header, context)


# Names and row identities


@unhurried
@given(st.tuples(st.none() | names, names, names), st.tuples(st.none() | names, names, names))
@example(("a", "b", "c"), (None, "a.b", "c"))
@example(("a.b", "c", "d"), ("a", "b.c", "d"))
@example((None, "ab", "c"), (None, "a", "bc"))
@example(("", "a", "b"), (None, "a", "b"))
def test_two_columns_have_one_context_only_if_all_their_names_are_equal(one: Any, other: Any) -> None:
    same = (one[0] or "", *one[1:]) == (other[0] or "", *other[1:])
    first, second = Context.of_column(*one), Context.of_column(*other)
    assert (first.data == second.data) is same
    assert (first == second) is same
    assert not same or hash(first) == hash(second)


@unhurried
@given(names.filter(bool), names.filter(bool), columns)
@example("patients.ssn", "patients.ssn", SSN)
@example("\x00\x00\x08patients\x00\x03ssn", "ssn", SSN)
def test_a_pinned_name_is_the_context_of_no_column_and_of_no_other_name(
    one: str, other: str, column: Context
) -> None:
    pinned = Context.of_name(one)
    assert (pinned == Context.of_name(other)) is (one == other)
    assert pinned != column and pinned.data != column.data


@unhurried
@given(keys, keys)
@example([b"a", b"b"], [b"ab"])
@example([b"a", b""], [b"a"])
@example([b"a\x00\x01b"], [b"a", b"b"])
def test_two_rows_have_one_identity_only_if_all_their_columns_are_equal(
    one: list[bytes], other: list[bytes]
) -> None:
    assert (row_identity(one) == row_identity(other)) is (one == other)


parts = st.tuples(suites, dek_ids, contexts, bound)


@unhurried
@given(parts, parts)
@example(
    (Suite.GCM, DEK_ID, Context.of_column("a", "b", "c"), b""),
    (Suite.GCM, DEK_ID, Context.of_column(None, "a", "b"), row_identity([b"c"])),
)
def test_associated_data_are_equal_only_if_all_their_parts_are(one: Any, other: Any) -> None:
    first, second = (
        associated_data(header_of(suite, dek_id), context, identity)
        for suite, dek_id, context, identity in (one, other)
    )
    assert (first == second) is (one == other)


@unhurried
@given(contexts, bound, contexts, bound)
def test_no_associated_data_begin_those_of_another_context(
    context: Context, identity: bytes, other: Context, bound_to: bytes
) -> None:
    assume(context != other)
    one, second = context.data + identity, other.data + bound_to
    assert not one.startswith(other.data) and not second.startswith(context.data)


def test_a_context_is_read_as_its_names() -> None:
    assert str(SSN) == "patients.ssn" and SSN.names == ("", "patients", "ssn")
    assert str(Context.of_column("clinic", "patients", "ssn")) == "clinic.patients.ssn"
    assert str(Context.of_name("person.email")) == "person.email"


def test_names_and_identities_have_bounds() -> None:
    longest = "ü" * 32_767 + "x"
    assert len(Context.of_name(longest).data) == 1 + 2 + 65_535
    assert len(Context.of_column(longest, longest, longest).data) == 1 + 3 * (2 + 65_535)
    assert row_identity([bytes(65_535)])[:3] == b"\x01\xff\xff"
    assert row_identity([b""] * 255) == b"\xff" + bytes(2 * 255)
    for names in ((longest + "x", "a", "b"), ("a", longest + "x", "b"), ("a", "b", longest + "x")):
        with pytest.raises(ValueError, match="65535"):
            Context.of_column(*names)
    for name in ("", longest + "x", "\ud800"):
        with pytest.raises(ValueError):
            Context.of_name(name)
    with pytest.raises(ValueError, match="65535"):
        row_identity([b"a", bytes(65_536)])
    for count in (0, 256):
        with pytest.raises(ValueError, match=f"1 to 255 columns, not {count}"):
            row_identity([b""] * count)


def test_a_dek_and_its_id_have_their_sizes() -> None:
    for size in (0, 7, 9):
        with pytest.raises(ValueError, match="8 bytes"):
            header_of(Suite.GCM, bytes(size))
    for size in (0, 16, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            column_key(Secret(bytes(size)), Suite.GCM, SSN)


# Round trips


@unhurried
@given(suites, deks, dek_ids, contexts, bound, st.binary())
@example(Suite.SIV, DEK, DEK_ID, SSN, b"", b"")
@example(Suite.GCM, DEK, DEK_ID, SSN, FIRST_ROW, b"")
def test_what_is_sealed_opens(
    suite: Suite, dek: bytes, dek_id: bytes, context: Context, identity: bytes, plain: bytes
) -> None:
    one = cipher(suite, dek, dek_id, context)
    for sealed in (one.seal(plain, identity), one.seal_with(plain, next(nonces(1)), identity)):
        assert cipher(suite, dek, dek_id, context).open(sealed, identity) == plain


@unhurried
@given(suites, st.lists(st.tuples(st.binary(), bound)))
def test_a_batch_opens_as_its_values_do(suite: Suite, rows: list[tuple[bytes, bytes]]) -> None:
    one, (plaintexts, rows_of) = cipher(suite), ([row[0] for row in rows], [row[1] for row in rows])
    for ids in (None, rows_of):
        sealed = one.seal_all(plaintexts, ids)
        each = ids or [b""] * len(rows)
        assert [one.open(*both) for both in zip(sealed, each, strict=True)] == plaintexts
        assert list(one.open_all(sealed, ids)) == plaintexts
        assert [value[:9] for value in sealed] == [one.header] * len(rows)
        assert [len(value) for value in sealed] == [len(plain) + suite.overhead for plain in plaintexts]
        alone = [one.seal(*both) for both in zip(plaintexts, each, strict=True)]
        assert list(one.open_all(alone, ids)) == plaintexts
        assert (sealed == alone) is (suite is Suite.SIV or not rows)


@unhurried
@given(suites, st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(), bound)))
def test_values_under_several_deks_open_in_one_batch(
    suite: Suite, rows: list[tuple[int, bytes, bytes]]
) -> None:
    ciphers = [cipher(suite, bytes((n,)) * 32, bytes((n,)) * 8) for n in range(3)]
    openers = [ciphers[n].opener for n, _, _ in rows]
    plaintexts = [plain for _, plain, _ in rows]
    for ids in (None, [identity for _, _, identity in rows]):
        each = ids or [b""] * len(rows)
        sealed = [ciphers[n].seal(plain, one) for (n, plain, _), one in zip(rows, each, strict=True)]
        assert open_each(openers, sealed, ids) == plaintexts


@each_suite
def test_a_batch_of_nothing_is_nothing(suite: Suite) -> None:
    one = cipher(suite)
    assert (
        one.seal_all([]) == one.seal_all([], []) == [] == list(one.open_all([])) == list(one.open_all([], []))
    )
    assert open_each([], []) == open_each([], [], []) == []


@each_suite
@pytest.mark.parametrize("ids", [[], [FIRST_ROW], [FIRST_ROW] * 3])
def test_a_batch_with_too_few_or_too_many_identities_is_refused(suite: Suite, ids: Sequence[bytes]) -> None:
    one = cipher(suite)
    sealed = [one.seal(PLAINTEXT, FIRST_ROW)] * 2
    for batch in (
        lambda: one.seal_all([PLAINTEXT] * 2, ids),
        lambda: one.open_all(sealed, ids),
        lambda: open_each([one.opener] * 2, sealed, ids),
        lambda: open_each([one.opener] * len(ids), sealed),
    ):
        with pytest.raises(ValueError, match="for 2 values"):
            batch()


@each_suite
@pytest.mark.parametrize("openers", [0, 1, 3])
@pytest.mark.parametrize("row", [None, FIRST_ROW])
def test_a_batch_with_too_few_or_too_many_openers_is_refused(
    suite: Suite, openers: int, row: bytes | None
) -> None:
    one = cipher(suite)
    sealed = [one.seal(PLAINTEXT, row or b"")] * 2
    with pytest.raises(ValueError):
        open_each([one.opener] * openers, sealed, row and [row] * 2)


@unhurried
@given(st.binary(), bound)
def test_a_deterministic_value_is_sealed_to_equal_bytes_and_another_is_not(
    plain: bytes, identity: bytes
) -> None:
    one = cipher(Suite.SIV)
    sealed = one.seal(plain, identity)
    assert one.seal(plain, identity) == sealed == one.seal_with(plain, b"", identity)
    assert one.seal_all([plain], [identity]) == [sealed]
    more = one.seal(plain + b"\x00", identity)
    elsewhere = cipher(Suite.SIV, context=EMAIL).seal(plain, identity)
    in_a_row = one.seal(plain, row_identity([b"row", identity]))
    assert len({value[9:25] for value in (sealed, more, elsewhere, in_a_row)}) == 4


# What must not open


@unhurried
@given(suites, contexts, contexts, st.binary())
@example(Suite.GCM, Context.of_column(None, "a", "bc"), Context.of_column(None, "ab", "c"), b"x")
@example(Suite.GCM, Context.of_column("a", "b", "c"), Context.of_column(None, "a.b", "c"), b"x")
@example(Suite.SIV, Context.of_name("patients.ssn"), SSN, b"")
def test_a_value_does_not_open_in_another_context(
    suite: Suite, one: Context, other: Context, plain: bytes
) -> None:
    assume(one != other)
    assert closed(cipher(suite, context=other), cipher(suite, context=one).seal(plain))


@unhurried
@given(suites, bound, bound, st.binary())
@example(Suite.GCM, FIRST_ROW, SECOND_ROW, b"x")
@example(Suite.GCM, FIRST_ROW, b"", b"x")
@example(Suite.GCM, b"", FIRST_ROW, b"x")
def test_a_value_does_not_open_in_another_row(
    suite: Suite, identity: bytes, other: bytes, plain: bytes
) -> None:
    assume(identity != other)
    assert closed(cipher(suite), cipher(suite).seal(plain, identity), other)


@each_suite
def test_values_of_two_rows_that_change_places_do_not_open(suite: Suite) -> None:
    one, rows = cipher(suite), [FIRST_ROW, SECOND_ROW]
    moved = one.seal_all([b"first", b"second"], rows)[::-1]
    with pytest.raises(InvalidTag):
        next(one.open_all(moved, rows))
    with pytest.raises(InvalidTag):
        open_each([one.opener] * 2, moved, rows)


@each_suite
@pytest.mark.parametrize("identity", [b"", FIRST_ROW], ids=["unbound", "bound"])
def test_the_context_and_the_row_are_in_the_associated_data_as_well_as_in_the_key(
    suite: Suite, identity: bytes
) -> None:
    key, header = column_key(Secret(DEK), suite, SSN), header_of(suite, DEK_ID)
    sealed = cipher_for(key, header, SSN).seal(PLAINTEXT, identity)
    assert closed(cipher_for(key, header, EMAIL), sealed, identity)


def test_columns_and_suites_have_keys_of_their_own() -> None:
    found = {
        column_key(Secret(DEK), suite, context).reveal()[:32] for suite in Suite for context in (SSN, EMAIL)
    }
    assert len(found) == 4
    assert [len(column_key(Secret(DEK), suite, SSN)) for suite in Suite] == [32, 64]


@each_suite
def test_a_value_does_not_open_under_another_dek_or_another_dek_id(suite: Suite) -> None:
    sealed = cipher(suite).seal(PLAINTEXT)
    assert closed(cipher(suite, dek=bytes(32)), sealed)
    other = cipher(suite, dek_id=bytes(8))
    assert closed(other, sealed) and closed(other, other.header + sealed[9:])
    assert closed(cipher(suite), other.seal(PLAINTEXT))
    assert closed(cipher(suite), cipher(suite).header + other.seal(PLAINTEXT)[9:])


@each_suite
def test_a_value_does_not_open_under_the_other_suite(suite: Suite) -> None:
    sealed, other = cipher(suite).seal(PLAINTEXT), cipher(Suite(3 - suite))
    assert closed(other, sealed) and closed(other, other.header + sealed[9:])


@each_suite
@pytest.mark.parametrize("identity", [b"", FIRST_ROW], ids=["unbound", "bound"])
def test_a_value_with_any_bit_flipped_does_not_open(suite: Suite, identity: bytes) -> None:
    one = cipher(suite)
    sealed = one.seal(PLAINTEXT, identity)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert closed(one, bytes(flipped), identity)
    assert one.open(sealed, identity) == PLAINTEXT


@each_suite
@unhurried
@given(plain=st.binary(max_size=40), more=st.binary(min_size=1, max_size=40), identity=bound)
def test_a_value_with_bytes_added_or_missing_does_not_open(
    suite: Suite, plain: bytes, more: bytes, identity: bytes
) -> None:
    one = cipher(suite)
    sealed = one.seal(plain, identity)
    for other in (sealed + more, *(sealed[:length] for length in range(len(sealed)))):
        assert closed(one, other, identity)


@each_suite
def test_one_altered_value_of_a_batch_stops_it_and_the_ones_before_it_open(suite: Suite) -> None:
    one = cipher(suite)
    sealed = one.seal_all([b"a", b"b", b"c"])
    sealed[1] = sealed[1][:-1] + bytes((sealed[1][-1] ^ 1,))
    batch = one.open_all(sealed)
    assert next(batch) == b"a"
    with pytest.raises(InvalidTag):
        next(batch)
    with pytest.raises(InvalidTag):
        open_each([one.opener] * 3, sealed)


@pytest.mark.parametrize("first", [0, *range(3, 256)])
def test_an_unknown_suite_is_not_sealed(first: int) -> None:
    sealed = bytes((first,)) + cipher(Suite.GCM).seal(PLAINTEXT)[1:]
    assert not is_header(sealed[:9])
    with pytest.raises(NotSealed, match="known suite"):
        parse_header(sealed)


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
def test_an_error_shows_no_plaintext_and_no_key(suite: Suite) -> None:
    one = cipher(suite)
    sealed = one.seal(PLAINTEXT)
    with pytest.raises(NotAuthentic) as caught:
        one.open(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    for shown in (str(caught.value), repr(one)):
        assert PLAINTEXT.decode() not in shown and DEK.hex() not in shown


# Nonces

SHARED = cipher(Suite.GCM)


def one_by_one(count: int) -> list[bytes]:
    return [SHARED.seal(PLAINTEXT)[9:21] for _ in range(count)]


def with_drawn(count: int) -> list[bytes]:
    return [SHARED.seal_with(PLAINTEXT, nonce)[9:21] for nonce in nonces(count)]


def in_a_batch(count: int) -> list[bytes]:
    return [sealed[9:21] for sealed in SHARED.seal_all([PLAINTEXT] * count)]


each_way = pytest.mark.parametrize("sealed", [one_by_one, with_drawn, in_a_batch])


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


@each_way
def test_nonces_come_from_the_operating_system_when_values_are_sealed(
    sealed: Callable[[int], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = bytearray()

    def urandom(count: int) -> bytes:
        made = os.urandom(count)
        drawn.extend(made)
        return made

    monkeypatch.setattr(sealing, "urandom", urandom)
    for count in (3, 5):
        drawn.clear()
        # As many as there are values, in their order: none is kept for later.
        assert b"".join(sealed(count)) == bytes(drawn) and len(drawn) == 12 * count


def test_a_nonce_is_used_as_it_is_given() -> None:
    given_ = [bytes((n,)) * 12 for n in range(3)]
    sealed = [SHARED.seal_with(PLAINTEXT, nonce) for nonce in given_]
    assert [value[9:21] for value in sealed] == given_
    assert all(one[21:] != other[21:] for one, other in pairwise(sealed))
