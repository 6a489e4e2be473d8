"""The check: which DEK opens stored bytes for an owner, and what is said of bytes that it does not open."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable, TamperedError, TenantMismatch
from sqlalchemy_cmk.columns import opening
from sqlalchemy_cmk.columns.opening import ColumnKeys
from sqlalchemy_cmk.columns.scheme import Scheme
from sqlalchemy_cmk.format import Context, header_of, row_identity
from sqlalchemy_cmk.keys.model import Purpose
from tests.unit.stored import StoredTenants, stored

__all__ = ["stored"]

SSN = Context.of_column(None, "patients", "ssn")
ROW = row_identity([b"1"])
LONG = b"plain text, and long enough to be sealed"


@pytest.fixture
def world(stored: Callable[..., StoredTenants]) -> StoredTenants:
    return stored()


RANDOMIZED, DETERMINISTIC = Scheme(), Scheme(deterministic=True)

each_scheme = pytest.mark.parametrize(
    "scheme", [RANDOMIZED, DETERMINISTIC], ids=["randomized", "deterministic"]
)


def keys(world: StoredTenants, scheme: Scheme = RANDOMIZED, context: Context = SSN) -> ColumnKeys:
    return ColumnKeys(world.keyring.keys, scheme, context, "patients.ssn")


@each_scheme
@pytest.mark.parametrize("identity", [b"", ROW], ids=["unbound", "bound"])
def test_what_was_sealed_for_an_owner_opens_for_that_owner(
    world: StoredTenants, scheme: Scheme, identity: bytes
) -> None:
    sealed = keys(world, scheme).sealing("acme").seal(b"value", identity)
    assert keys(world, scheme).open(sealed, "acme", identity) == b"value"
    assert keys(world, scheme).opening(sealed[:9], "acme").open(sealed, identity) == b"value"


def test_no_owner_at_all_opens_whatever_the_keyring_lets_be_read(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    assert keys(world).open(sealed, None) == b"value"


@pytest.mark.parametrize("owner", ["globex", ""])
def test_another_owner_is_tampering_in_a_row_and_a_mismatch_elsewhere(
    world: StoredTenants, owner: str
) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    for work, given in ((keys(world).open, sealed), (keys(world).opening, sealed[:9])):
        with pytest.raises(TamperedError, match=rf"^patients\.ssn: a row of tenant '{owner}' .* for 'acme'"):
            work(given, owner)
        with pytest.raises(TenantMismatch, match=rf"^patients\.ssn: .* 'acme' where .* name '{owner}'"):
            work(given, owner, row_says=False)


def test_a_revoked_owner_is_named_before_the_revocation(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    world.revoke("acme")
    with pytest.raises(KeyRevoked) as caught:
        keys(world).open(sealed, "acme")
    assert caught.value.tenant == "acme"
    with pytest.raises(TamperedError, match="a row of tenant 'globex'"):
        keys(world).open(sealed, "globex")
    with pytest.raises(TenantMismatch):
        keys(world).open(sealed, "globex", row_says=False)


def test_a_dek_that_is_not_there_is_tampering_and_named(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    dek_id = bytes(7) + b"\x01"
    with pytest.raises(TamperedError, match=dek_id.hex()):
        keys(world).open(sealed[:1] + dek_id + sealed[9:], "acme")


@each_scheme
def test_a_value_of_the_other_suite_or_purpose_is_tampering(world: StoredTenants, scheme: Scheme) -> None:
    other = replace(scheme, deterministic=not scheme.deterministic)
    sealed = keys(world, other).sealing("acme").seal(b"value")
    with pytest.raises(TamperedError, match="sealed in a way this column does not use"):
        keys(world, scheme).open(sealed, "acme")
    # The same DEK under the header of the other suite.
    dek = world.keyring.active("acme", Purpose.of(scheme.suite))
    with pytest.raises(TamperedError, match="sealed in a way this column does not use"):
        keys(world, scheme).opening(header_of(other.suite, dek.id), "acme")


def test_a_value_of_another_column_or_row_is_tampering(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value", ROW)
    elsewhere = Context.of_column(None, "patients", "email")
    for column, identity in ((keys(world), row_identity([b"2"])), (keys(world), b"")):
        with pytest.raises(TamperedError, match="altered, or moved here from another column or row"):
            column.open(sealed, "acme", identity)
    with pytest.raises(TamperedError, match="altered, or moved here"):
        keys(world, context=elsewhere).open(sealed, "acme", ROW)


@pytest.mark.parametrize("other", [b"", b"\x01", LONG, "text", 7, None])
def test_what_is_no_sealed_value_is_tampering(world: StoredTenants, other: Any) -> None:
    with pytest.raises(TamperedError, match=r"^patients\.ssn: the stored value is not sealed") as caught:
        keys(world).open(other, "acme")
    assert "plain text, and" not in str(caught.value)


def test_a_value_cut_short_names_the_dek_that_it_began_with(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    with pytest.raises(TamperedError, match=f"DEK {sealed[1:9].hex()}, if it ever was one"):
        keys(world).open(sealed[:20], "acme")


def test_a_kek_out_of_reach_is_no_tampering(world: StoredTenants) -> None:
    sealed = keys(world).sealing("acme").seal(b"value")
    world.keyring.forget()

    def out_of_reach(kek_uri: str) -> None:
        raise KeyUnavailable(f"{kek_uri} is out of reach")

    world.provider.fault = out_of_reach
    with pytest.raises(KeyUnavailable):
        keys(world).open(sealed, "globex")


def test_the_keyring_is_asked_at_each_call_and_a_cipher_made_once(world: StoredTenants) -> None:
    column = keys(world)
    sealed = column.sealing("acme").seal(b"value")
    assert column.opening(sealed[:9], "acme") is column.sealing("acme")
    world.keyring.forget()
    calls = world.provider.calls.count("unwrap")
    assert column.open(sealed, "acme") == b"value" and world.provider.calls.count("unwrap") == calls + 1
    world.revoke("acme")
    for work in (lambda: column.open(sealed, "acme"), lambda: column.sealing("acme")):
        with pytest.raises(KeyRevoked):
            work()


def test_ciphers_are_not_kept_without_bound(world: StoredTenants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_CIPHERS", 2)
    column = keys(world)
    sealed = {owner: column.sealing(owner).seal(owner.encode()) for owner in ("", "acme", "globex")}
    for _ in range(2):
        for owner, value in sealed.items():
            assert column.open(value, owner) == owner.encode()
    assert len(column._made) <= 2


def test_without_a_name_the_caller_adds_it(world: StoredTenants) -> None:
    with pytest.raises(TamperedError, match=r"^the stored value is not sealed"):
        ColumnKeys(world.keyring.keys, Scheme(), SSN).open(b"", "acme")
