"""A column's values are opened a batch at a time, each for the owner of its row and with every check."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Numeric

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable, Sealed, TamperedError, TenantMismatch, TenantRequired
from sqlalchemy_cmk.columns import reading
from sqlalchemy_cmk.columns.reading import Owners
from sqlalchemy_cmk.format import row_identity
from tests.unit.stored import StoredTenants, stored

__all__ = ["stored"]

Make = Callable[..., StoredTenants]

each_suite = pytest.mark.parametrize("deterministic", [False, True], ids=["randomized", "deterministic"])


@each_suite
def test_a_batch_of_one_owner_is_checked_once(stored: Make, deterministic: bool) -> None:
    world = stored(deterministic=deterministic)
    values = [f"value {n}" for n in range(50)]
    found = world.read([world.seal(value, "acme") for value in values], *["acme"] * 50)
    assert (found, world.asked) == (values, ["acme"])


@each_suite
def test_a_batch_whose_owner_is_known_for_all_asks_for_it_once(stored: Make, deterministic: bool) -> None:
    world, asked = stored(deterministic=deterministic), []

    def name(held: Any) -> str:
        asked.append(held)
        return "acme"

    sealed = [world.seal("one", "acme"), world.seal("two", "acme")]
    assert list(world.reader().read(sealed, Owners(name))) == ["one", "two"]
    assert asked == [None]


@each_suite
def test_a_batch_of_several_owners_opens_each_value_under_its_owner(
    stored: Make, deterministic: bool
) -> None:
    world = stored(deterministic=deterministic)
    owners = ["acme", "globex", "acme", "umbrella", "globex"]
    sealed = [world.seal(f"{n} of {owner}", owner) for n, owner in enumerate(owners)]
    assert world.read(sealed, *owners) == [f"{n} of {owner}" for n, owner in enumerate(owners)]
    assert sorted(world.asked) == sorted(set(owners))


@each_suite
def test_values_of_more_keys_than_a_batch_keeps_open(
    stored: Make, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_HOT", 1)
    monkeypatch.setattr(reading, "MAX_OPENERS", 1)
    world = stored(deterministic=deterministic)
    owners = ["acme", "globex", "acme", "umbrella", "globex"]
    values = [f"{n} of {owner}" for n, owner in enumerate(owners)]
    sealed = [world.seal(value, owner) for value, owner in zip(values, owners, strict=True)]
    reader = world.reader()
    for some in (2, 5):
        assert list(reader.read(sealed[:some], world.rows(*owners[:some]))) == values[:some]
    assert world.asked.count("acme") == 2
    moved = [*sealed[:3], sealed[0], sealed[4]]
    with pytest.raises(TamperedError):
        reader.read(moved, world.rows(*owners))


def test_values_of_one_owner_under_several_deks_open(stored: Make) -> None:
    world = stored()
    sealed = [world.seal("old", "acme")]
    world.keyring.assign("acme", "local:other", fresh_dek=True)
    world.keyring.forget()
    sealed = [*sealed, world.seal("new", "acme"), *sealed]
    assert len({value[:9] for value in sealed}) == 2
    assert world.read(sealed, *["acme"] * 3) == ["old", "new", "old"]
    assert list(world.reader().read(sealed, Owners(lambda _: "acme"))) == ["old", "new", "old"]


@each_suite
def test_nulls_are_none_and_need_no_owner(stored: Make, deterministic: bool) -> None:
    world = stored(deterministic=deterministic)
    acme, globex = world.seal("a", "acme"), world.seal("g", "globex")
    assert world.read([None, acme, None, globex], "acme", "acme", None, "globex") == [None, "a", None, "g"]
    assert world.read([None, None], None, "") == [None, None]
    assert world.read([]) == []

    def required(held: Any) -> str:
        raise TenantRequired("nobody")

    assert list(world.reader().read([None], Owners(required))) == [None]
    with pytest.raises(TenantRequired):
        world.reader().read([None, acme], Owners(required))


def test_identities_stay_with_their_values_beside_nulls(stored: Make) -> None:
    world = stored(row_bound=True)
    ids = [row_identity([bytes([n])]) for n in range(4)]
    sealed = [world.seal(str(n), "acme", one) for n, one in enumerate(ids)]
    owners = ["acme"] * 4
    assert world.read(sealed, *owners, identities=ids) == ["0", "1", "2", "3"]
    assert world.read([None, *sealed[1:]], *owners, identities=ids) == [None, "1", "2", "3"]
    mixed = [*sealed[:3], world.seal("3", "globex", ids[3])]
    assert world.read(mixed, *owners[:3], "globex", identities=ids) == ["0", "1", "2", "3"]
    for swapped in ([sealed[1], sealed[0], *sealed[2:]], [None, sealed[2], sealed[1], None]):
        with pytest.raises(TamperedError, match="moved here from another column or row"):
            world.read(swapped, *owners, identities=ids)


@each_suite
@pytest.mark.parametrize("form", [memoryview, bytearray])
def test_bytes_open_in_whatever_form_a_driver_gives_them(
    stored: Make, deterministic: bool, form: Callable[[bytes], Any]
) -> None:
    world = stored(deterministic=deterministic)
    acme, globex = world.seal("a", "acme"), world.seal("g", "globex")
    assert world.read([form(acme)], "acme") == ["a"]
    assert world.read([form(acme), None, form(acme)], *["acme"] * 3) == ["a", None, "a"]
    assert world.read([form(acme), acme, form(globex)], "acme", "acme", "globex") == ["a", "a", "g"]
    with pytest.raises(TamperedError, match="a row of tenant 'globex'"):
        world.read([form(acme), form(acme)], "acme", "globex")


@each_suite
def test_a_padded_tenant_column_names_the_same_tenant(stored: Make, deterministic: bool) -> None:
    world = stored(deterministic=deterministic)
    sealed = [world.seal("one", "acme"), world.seal("two", "acme"), world.seal("three", "globex")]
    padded = ("acme     ", "acme", "globex   ")
    assert world.read(sealed, *padded) == ["one", "two", "three"]
    assert world.read(sealed[:2], *padded[:2]) == ["one", "two"]
    with pytest.raises(TamperedError, match="a row of tenant 'globex' holds"):
        world.read(sealed[:2], "acme     ", "globex   ")


@each_suite
def test_a_value_of_another_owner_is_found_wherever_it_stands(stored: Make, deterministic: bool) -> None:
    world = stored(deterministic=deterministic)
    acme, globex = world.seal("a", "acme"), world.seal("g", "globex")
    moved = [
        ([globex], ["acme"]),
        ([acme, globex, acme], ["acme"] * 3),
        ([acme, acme, globex], ["acme"] * 3),
        ([acme, globex, globex], ["acme", "globex", "acme"]),
        ([acme, globex], ["globex", "acme"]),
        ([None, globex], ["acme", "acme"]),
    ]
    for values, held in moved:
        with pytest.raises(TamperedError, match="holds a value sealed for"):
            world.read(values, *held)
    with pytest.raises(TenantMismatch):
        world.reader().read([acme, globex], Owners(lambda _: "acme"))


def test_a_check_of_one_batch_does_not_serve_another_owner_in_the_next_part(stored: Make) -> None:
    world = stored()
    acme, globex = world.seal("a", "acme"), world.seal("g", "globex")
    reader = world.reader()
    assert reader.read([acme, globex, acme], world.rows("acme", "globex", "acme")) == ["a", "g", "a"]
    assert reader.read([globex, acme], world.rows("globex", "acme")) == ["g", "a"]
    for values, held in (([acme], ["globex"]), ([globex, acme], ["globex", "globex"])):
        with pytest.raises(TamperedError):
            reader.read(values, world.rows(*held))
    assert reader.read([acme, globex], world.rows("acme", "globex")) == ["a", "g"]


@pytest.mark.parametrize("held", [None, ""])
def test_a_sealed_value_beside_an_empty_tenant_column_is_tampering(stored: Make, held: Any) -> None:
    world = stored()
    values = [world.seal("a", "acme"), world.seal("p", "")]
    for one in values:
        with pytest.raises(TamperedError, match="a row whose tenant column is empty holds a sealed value"):
            world.read([one], held)
        with pytest.raises(TamperedError, match="a row whose tenant column is empty holds a sealed value"):
            world.read([values[0], one, None], "acme", held, held)


def test_a_revoked_key_in_the_middle_ends_the_batch_or_is_sealed(stored: Make) -> None:
    owners = ["acme", "globex", "acme"]
    for on_revoked in ("raise", "seal"):
        world = stored(on_revoked=on_revoked)
        sealed = [world.seal(owner, owner) for owner in owners]
        world.revoke("globex")
        world.provider.calls.clear()
        if on_revoked == "raise":
            with pytest.raises(KeyRevoked) as caught:
                world.read(sealed, *owners)
            assert caught.value.tenant == "globex"
        else:
            first, second, third = world.read(sealed, *owners)
            assert (first, third) == ("acme", "acme") and isinstance(second, Sealed)
            assert (second.tenant, second.context) == ("globex", "patients.ssn")
        world.provider.enable("local:globex")


def test_a_kek_that_refuses_is_asked_once_in_a_fetch(stored: Make) -> None:
    world = stored(on_revoked="seal")
    values = [world.seal(str(n), "globex") for n in range(20)]
    world.revoke("globex")
    world.provider.calls.clear()
    reader = world.reader()
    for _ in range(3):
        found = reader.read([*values, None], world.rows(*["globex"] * 21))
        assert all(isinstance(one, Sealed) for one in found[:-1]) and found[-1] is None
        reader.end()
    assert world.provider.calls == ["unwrap"]
    world.provider.enable("local:globex")


def test_a_kek_out_of_reach_is_asked_once_in_a_fetch(stored: Make) -> None:
    world = stored()
    values = [world.seal(str(n), "globex") for n in range(20)]
    world.keyring.forget()

    def out_of_reach(kek_uri: str) -> None:
        raise KeyUnavailable(f"{kek_uri} is out of reach")

    world.provider.fault = out_of_reach
    world.provider.calls.clear()
    reader = world.reader()
    for _ in range(3):
        with pytest.raises(KeyUnavailable):
            reader.read(values, world.rows(*["globex"] * 20))
    assert world.provider.calls == ["unwrap"]


def test_a_revocation_is_noticed_by_the_next_batch(stored: Make) -> None:
    world = stored()
    value, reader = world.seal("a", "acme"), world.reader()
    assert reader.read([value], world.rows("acme")) == ["a"]
    world.revoke("acme")
    reader.end()
    with pytest.raises(KeyRevoked):
        reader.read([value], world.rows("acme"))


@each_suite
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_unknown_header_is_named_wherever_it_stands(stored: Make, deterministic: bool, at: int) -> None:
    world = stored(deterministic=deterministic)
    values = [world.seal(str(n), "acme") for n in range(3)]
    unknown = b"UNKNOWN!"
    values[at] = values[at][:1] + unknown + values[at][9:]
    with pytest.raises(TamperedError, match=f"^patients.ssn: there is no DEK {unknown.hex()}"):
        world.read(values, *["acme"] * 3)
    with pytest.raises(TamperedError, match=f"there is no DEK {unknown.hex()}"):
        world.read([*values, None], *["acme"] * 4)


@pytest.mark.parametrize("other", ["plain text", "plain", b"", b"\x01", b"\x01" + bytes(60), 7, 1.5, True])
def test_what_is_not_sealed_is_tampering_among_values_that_open(stored: Make, other: Any) -> None:
    world = stored()
    acme = world.seal("a", "acme")
    for values in ([other], [acme, other], [other, acme], [acme, other, None]):
        with pytest.raises(TamperedError, match=r"^patients\.ssn: ") as caught:
            world.read(values, *["acme"] * len(values))
        assert "plain text '" not in str(caught.value) and caught.value.__cause__ is None


def test_plaintexts_are_read_beside_sealed_values_where_the_column_accepts_them(stored: Make) -> None:
    world = stored(accept_plaintext=True)
    acme, globex = world.seal("a", "acme"), world.seal("g", "globex")
    values = [acme, b"plain", None, globex, b"\x01 looks like a header", "text"]
    held = ["acme", "acme", "acme", "globex", "globex", "globex"]
    found = ["a", "plain", None, "g", "\x01 looks like a header", "text"]
    assert world.read(values, *held) == found
    with pytest.raises(TamperedError, match="a row of tenant 'globex'"):
        world.read([acme, b"plain"], "globex", "globex")
    with pytest.raises(TamperedError, match="altered, or moved"):
        world.read([acme[:-1] + bytes([acme[-1] ^ 1])], "acme")


def test_unknown_headers_are_not_kept_without_bound(stored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_UNKNOWN_HEADERS", 3)
    world = stored(accept_plaintext=True)
    reader = world.reader()
    texts = [b"\x01 header %d" % n for n in range(10)]
    assert reader.read(texts, world.rows(*["acme"] * 10)) == [one.decode() for one in texts]
    assert len(reader._unknown) <= 3


def test_opened_bytes_that_are_no_value_of_the_type_are_tampering(stored: Make) -> None:
    world = stored(declared=None)
    acme = world.seal("a", "acme")
    broken = world.column.ciphers(world.keyring.keys).sealing("acme").seal(b"\xff\xfe")
    for values in ([broken], [acme, broken]):
        with pytest.raises(TamperedError, match="not a value of the declared type"):
            world.read(values, *["acme"] * len(values))


def test_a_plaintext_that_is_no_value_of_the_columns_type_is_tampering_also_in_a_batch(stored: Make) -> None:
    world = stored(Numeric(8, 2))
    one = Decimal("1.50")
    garbage = world.column.ciphers(world.keyring.keys).sealing("acme").seal(b"no number", b"")
    with pytest.raises(TamperedError):
        world.read([world.seal(one, "acme"), garbage], "acme", "acme")
