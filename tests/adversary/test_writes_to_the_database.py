"""One who writes to the database, to the application's own rows: an administrator, an SQL injection."""

import pytest

from tests.adversary.forgeries import flipped
from tests.adversary.models import FERNET
from tests.adversary.town import Tenant, Town


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


@pytest.fixture
def globex(town: Town) -> Tenant:
    return town.tenant("globex")


def test_is_named_who_changes_a_bit_of_a_value(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann", ssn="078-05-1120", history="asthma")
    for column in ("name", "ssn", "history"):
        value = bytes(town.stored(number, column))
        for place in (0, 1, 8, 9, len(value) // 2, len(value) - 1):
            town.store(number, flipped(value, place), column)
            answer = acme.read(number, column)
            assert answer.error == "TamperedError" and f"patients.{column}" in answer.message
        town.store(number, value, column)
    assert acme.says(number) == "Ann"


def test_is_named_who_cuts_a_value_or_makes_it_longer(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    value = bytes(town.stored(number))
    for changed in (b"", value[:5], value[:20], value[:-1], value + b"\0", value + value):
        town.store(number, changed)
        assert acme.read(number).error == "TamperedError"


def test_is_named_who_puts_a_plaintext_in_a_sealed_values_place(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann", ssn="1", history="asthma")
    for column in ("name", "ssn", "history"):
        town.store(number, b"the attacker's", column)
        assert acme.read(number, column).error == "TamperedError"


def test_is_named_who_moves_a_value_to_another_column(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann", nickname="Annie", history="asthma")
    values = {column: town.stored(number, column) for column in ("name", "nickname", "history")}
    for source, target in (("name", "nickname"), ("nickname", "name"), ("name", "history")):
        town.store(number, values[source], target)
        assert acme.read(number, target).error == "TamperedError"


def test_is_named_who_moves_a_value_to_another_tenants_row(town: Town, acme: Tenant, globex: Tenant) -> None:
    mine, theirs = acme.add(name="Ann", ssn="1"), globex.add(name="Gus", ssn="2")
    for column in ("name", "ssn"):
        town.store(theirs, town.stored(mine, column), column)
        assert globex.read(theirs, column).error == "TamperedError"


def test_is_named_who_gives_a_row_to_another_tenant(town: Town, acme: Tenant, globex: Tenant) -> None:
    number = acme.add(name="Ann", ssn="1", history="asthma")
    globex.add(name="Gus")
    town.sql("UPDATE patients SET clinic = :new WHERE id = :id", new=globex.name, id=number)
    for column in ("name", "ssn", "history"):
        assert globex.read(number, column).error == "TamperedError"
        assert acme.read(number, column).error == "TenantMismatch"


def test_is_named_who_moves_a_row_bound_value_to_another_row(town: Town, acme: Tenant) -> None:
    one, two = acme.add(history="asthma"), acme.add(history="none")
    town.store(two, town.stored(one, "history"), "history")
    assert acme.read(two, "history").error == "TamperedError"
    town.sql("DELETE FROM visits WHERE patient_id = :id", id=one)
    town.sql("UPDATE patients SET id = :new WHERE id = :id", new=one + 1, id=one)
    assert acme.read(one + 1, "history").error == "TamperedError"


def test_exchanges_two_values_of_a_column_that_is_not_row_bound(town: Town, acme: Tenant) -> None:
    one, two = acme.add(name="Ann"), acme.add(name="Al")
    first, second = town.stored(one), town.stored(two)
    town.store(one, second)
    town.store(two, first)
    assert (acme.says(one), acme.says(two)) == ("Al", "Ann")


def test_exchanges_two_values_of_a_row_whose_columns_share_a_context(town: Town, acme: Tenant) -> None:
    number = acme.add(allergy="nuts", intolerance="milk")
    first, second = town.stored(number, "allergy"), town.stored(number, "intolerance")
    town.store(number, second, "allergy")
    town.store(number, first, "intolerance")
    assert (acme.says(number, "allergy"), acme.says(number, "intolerance")) == ("milk", "nuts")


def test_puts_an_older_value_of_the_same_row_back(town: Town, acme: Tenant) -> None:
    number = acme.add(history="asthma", name="Ann")
    before = {column: town.stored(number, column) for column in ("history", "name")}
    assert not town.app.post(acme.name, number, history="none", name="Anna").error
    assert acme.says(number, "history") == "none"
    for column, value in before.items():
        town.store(number, value, column)
    assert (acme.says(number, "history"), acme.says(number)) == ("asthma", "Ann")
    (row,) = town.sql("SELECT * FROM patients WHERE id = :id", id=number)
    town.sql("DELETE FROM visits WHERE patient_id = :id", id=number)
    town.sql("DELETE FROM patients WHERE id = :id", id=number)
    town.insert("patients", row)
    assert acme.says(number, "history") == "asthma"


def test_takes_values_and_rows_away(town: Town, acme: Tenant) -> None:
    number, other = acme.add(name="Ann"), acme.add(name="Al")
    town.store(number, None)
    assert acme.says(number) is None
    town.sql("DELETE FROM visits WHERE patient_id = :id", id=other)
    town.sql("DELETE FROM patients WHERE id = :id", id=other)
    assert acme.read(other).error == "NoResultFound"


def test_puts_a_plaintext_in_a_column_that_accepts_them(town: Town, acme: Tenant) -> None:
    number = acme.add(legacy="sealed")
    value = bytes(town.stored(number, "legacy"))
    town.store(number, b"the attacker's", "legacy")
    assert acme.says(number, "legacy") == "the attacker's"
    # What names one of our DEKs is never taken for a plaintext.
    town.store(number, flipped(value, 30), "legacy")
    assert acme.read(number, "legacy").error == "TamperedError"


def test_puts_an_old_ciphertext_in_a_column_that_accepts_them(town: Town, acme: Tenant) -> None:
    number = acme.add(imported="sealed")
    value = bytes(town.stored(number, "imported"))
    town.store(number, FERNET.encrypt(b"of another row"), "imported")
    assert acme.says(number, "imported") == "of another row"
    # One that is no old ciphertext is not read, and what begins like ours is never taken for one.
    for forged in (b"the attacker's", flipped(value, 30), value[:9], value[:1] + FERNET.encrypt(b"x")):
        town.store(number, forged, "imported")
        assert acme.read(number, "imported").error == "TamperedError"


def test_relabels_nothing_by_a_query_of_their_own(town: Town, acme: Tenant, globex: Tenant) -> None:
    """An SQL injection that says whose row it is: the DEK says whose value it is."""
    number = acme.add(name="Ann")
    globex.add(name="Gus")
    answers = town.app.get("as", globex.name, "ask", number).content
    assert {answers[way] for way in ("SQL", "SQL, columns")} == {"TamperedError"}
