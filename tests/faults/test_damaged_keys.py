"""Key tables that were altered past the library: what they open no more is named, and nothing else opens."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sqlalchemy_cmk import TamperedError
from tests.faults.conftest import READERS, Clinics, by_orm, refusal

SUITES = {"randomized": "ssn", "deterministic": "email"}
EACH_PURPOSE = pytest.mark.parametrize("purpose", SUITES)


def refused(clinics: Clinics, purpose: str) -> str:
    """What the ways of reading acme's value under a DEK say, once the keyring has to open it again.

    The tenant's keys are one record: where one DEK is not what was written, none is used.
    """
    column = SUITES[purpose]
    dek_id = clinics.stored(column, 1)[1:9].hex()
    clinics.vault.restart()
    messages = {refusal(partial(read, clinics, column, 1)) for read in READERS.values()}
    assert all(dek_id in one for one in messages)
    return "\n".join(sorted(messages))


def unharmed(clinics: Clinics) -> bool:
    return all(by_orm(clinics, column, 2) == clinics.value(column, 2) for column in SUITES.values())


def dek_id(clinics: Clinics, purpose: str, number: int = 1) -> bytes:
    return clinics.stored(SUITES[purpose], number)[1:9]


def wrapping(clinics: Clinics, purpose: str, number: int = 1) -> bytes:
    wanted = dek_id(clinics, purpose, number)
    rows = clinics.vault.raw("SELECT dek_id, wrapped FROM cmk_wrappings")
    return next(bytes(wrapped) for found, wrapped in rows if bytes(found) == wanted)


def rewrite(clinics: Clinics, purpose: str, wrapped: bytes) -> None:
    clinics.execute(
        "UPDATE cmk_wrappings SET wrapped = :wrapped WHERE dek_id = :id",
        wrapped=wrapped,
        id=dek_id(clinics, purpose),
    )


@EACH_PURPOSE
def test_a_value_whose_dek_was_deleted_is_named(clinics: Clinics, purpose: str) -> None:
    for table, key in (("cmk_wrappings", "dek_id"), ("cmk_deks", "id")):
        clinics.execute(f"DELETE FROM {table} WHERE {key} = :id", id=dek_id(clinics, purpose))
    said = refused(clinics, purpose)
    assert "there is no DEK" in said or "was removed from the table of DEKs" in said
    assert unharmed(clinics)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "the first bit flipped": lambda wrapped: bytes([wrapped[0] ^ 0x80]) + wrapped[1:],
    "the last bit flipped": lambda wrapped: wrapped[:-1] + bytes([wrapped[-1] ^ 1]),
    "truncated": lambda wrapped: wrapped[:-8],
    "truncated unevenly": lambda wrapped: wrapped[:-1],
    "lengthened": lambda wrapped: wrapped + bytes(8),
    "empty": lambda wrapped: b"",
    "a plain key": lambda wrapped: bytes(range(32)),
}


@EACH_PURPOSE
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_value_whose_wrapped_dek_is_damaged_is_named(
    sqlite_clinics: Clinics, purpose: str, damage: str
) -> None:
    rewrite(sqlite_clinics, purpose, DAMAGES[damage](wrapping(sqlite_clinics, purpose)))
    refused(sqlite_clinics, purpose)
    assert unharmed(sqlite_clinics)


def test_no_flipped_bit_of_a_wrapped_dek_opens_anything(clinics: Clinics) -> None:
    good = wrapping(clinics, "randomized")
    for at in range(len(good)):
        rewrite(clinics, "randomized", good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        clinics.vault.keyring.forget()
        assert "a wrapping of DEK" in refusal(lambda: by_orm(clinics, "ssn", 1))
    rewrite(clinics, "randomized", good)
    clinics.vault.keyring.forget()
    assert by_orm(clinics, "ssn", 1) == clinics.value("ssn", 1)


@EACH_PURPOSE
def test_a_wrapped_dek_in_the_place_of_another_opens_nothing(clinics: Clinics, purpose: str) -> None:
    rewrite(clinics, purpose, wrapping(clinics, purpose, 2))
    refused(clinics, purpose)
    assert unharmed(clinics)


@EACH_PURPOSE
def test_a_dek_given_to_another_tenant_does_not_open_its_old_tenants_values(
    clinics: Clinics, purpose: str
) -> None:
    clinics.execute(
        "UPDATE cmk_deks SET tenant = :tenant, state = 'retired', active_slot = NULL WHERE id = :id",
        tenant=b"globex" if clinics.vault.engine.dialect.name in ("mysql", "mariadb") else "globex",
        id=dek_id(clinics, purpose),
    )
    dek = dek_id(clinics, purpose).hex()
    clinics.vault.restart()
    said = refusal(lambda: by_orm(clinics, SUITES[purpose], 1))
    assert f"DEK {dek} was " in said and ("added to the table" in said or "removed from the table" in said)


@EACH_PURPOSE
def test_a_dek_whose_purpose_was_altered_opens_nothing(clinics: Clinics, purpose: str) -> None:
    (other,) = SUITES.keys() - {purpose}
    clinics.execute(
        "UPDATE cmk_deks SET purpose = :other, state = 'retired', active_slot = NULL WHERE id = :id",
        other=other,
        id=dek_id(clinics, purpose),
    )
    refused(clinics, purpose)
    assert unharmed(clinics)


def test_a_damaged_dek_seals_nothing_either(clinics: Clinics) -> None:
    rewrite(clinics, "randomized", bytes(40))
    clinics.vault.restart()
    before: list[Any] = clinics.vault.raw("SELECT count(*) FROM patients")
    with clinics.vault.session() as session:
        session.add(clinics.Patient(id=3, clinic="acme", ssn="new"))
        with pytest.raises(TamperedError):
            session.commit()
    assert clinics.vault.raw("SELECT count(*) FROM patients") == before
