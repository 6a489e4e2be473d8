"""Another tenant in the same process: signed in, and free to ask for any row's number, or with any SQL."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from sqlalchemy_cmk import TenantMismatch, tenant_scope
from tests.adversary.models import Base, Patient
from tests.adversary.town import Tenant, Town


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


@pytest.fixture
def globex(town: Town) -> Tenant:
    return town.tenant("globex")


def test_is_refused_a_row_however_a_page_asks_for_it(town: Town, acme: Tenant, globex: Tenant) -> None:
    """Thirteen ways to ask by the row's number, with keys that are open."""
    number = acme.add(name="Ann of acme")
    globex.add(name="Gus")
    of_acme = town.app.get("as", acme.name, "ask", number).content
    served = {way for way, answer in of_acme.items() if answer == "= Ann of acme"}
    assert len(served) >= 11
    answers = town.app.get("as", globex.name, "ask", number).content
    assert {answers[way] for way in served} == {"TenantMismatch", "TamperedError"}
    assert "Ann" not in str(answers)


def test_is_refused_a_row_also_after_a_restart(town: Town, acme: Tenant, globex: Tenant) -> None:
    number = acme.add(name="Ann of acme")
    globex.add(name="Gus")
    town.app.restart()
    answers = town.app.get("as", globex.name, "ask", number).content
    assert "Ann" not in str(answers) and answers["entity"] == "TenantMismatch"


def test_writes_nothing_to_another_tenants_rows(town: Town, acme: Tenant, globex: Tenant) -> None:
    number = acme.add(name="Ann")
    globex.add(name="Gus")
    answers = town.app.get("as", globex.name, "plant", number, acme.name).content
    assert set(answers.values()) == {"TenantMismatch"} and len(answers) == 7
    assert town.app.get(acme.name, "names")["names"] == ["Ann"]


def test_deletes_a_row_by_a_page_that_asks_for_nothing_but_its_number(
    town: Town, acme: Tenant, globex: Tenant
) -> None:
    number = acme.add(name="Ann")
    assert not town.app.get("as", globex.name, "delete", number).error
    assert acme.read(number).error == "NoResultFound"


def test_finds_no_equal_value_of_another_tenant(town: Town, acme: Tenant, globex: Tenant) -> None:
    mine, theirs = acme.add(ssn="078-05-1120"), globex.add(ssn="219-09-9999")
    assert town.app.get(acme.name, "find", ssn="078-05-1120")["ids"] == [mine]
    assert town.app.get(globex.name, "find", ssn="078-05-1120")["ids"] == []
    assert town.app.get(globex.name, "find", ssn="219-09-9999")["ids"] == [theirs]


def test_is_served_own_rows_only_while_many_tenants_ask_at_once(town: Town) -> None:
    tenants = [town.tenant("clinic") for _ in range(4)]
    for tenant in tenants:
        tenant.add(name=f"only {tenant.name}'s")
    town.app.forget()

    def ask(number: int) -> bool:
        tenant = tenants[number % len(tenants)]
        return bool(town.app.get(tenant.name, "names")["names"] == [f"only {tenant.name}'s"])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(80)))


def test_gets_nothing_from_a_page_whose_scope_did_not_come_along(
    town: Town, acme: Tenant, globex: Tenant
) -> None:
    """A thread without the scope opens nothing, and a generator leaves none behind for its caller."""
    number = acme.add(name="Ann")
    globex.add(name="Gus")
    for clinic in (acme, globex):
        answers = town.app.get("as", clinic.name, "elsewhere", number).content
        assert answers["thread"] == answers["after"] == "TenantRequired"
        assert answers["generator"] == "ConfigurationError"


def test_gets_nothing_where_neither_the_row_nor_a_scope_names_a_tenant(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    answers = town.app.get("nobody", "ask", number).content
    assert {answers[way] for way in ("column", "label", "subquery", "union", "core")} == {"TenantRequired"}


def test_reads_it_where_the_application_allows_reads_without_a_tenant(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    keyring = town.setting.keyring(town.engine, "a lenient process", reads_without_tenant=True)
    keyring.protect(Base)
    with Session(town.engine) as session:
        assert session.scalars(select(Patient.name).where(Patient.id == number)).one() == "Ann"
        with tenant_scope("globex"), pytest.raises(TenantMismatch):
            session.scalars(select(Patient.name).where(Patient.id == number)).one()
    keyring.close()


def test_is_served_by_a_page_that_enters_no_scope_and_asks_for_anybodys_row(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    answers = town.app.get("nobody", "ask", number).content
    assert answers["get"] == answers["entity"] == answers["columns"] == "= Ann"


def test_is_refused_an_object_that_a_shared_session_holds(town: Town, acme: Tenant, globex: Tenant) -> None:
    number = acme.add(name="Ann")
    answers = town.app.get("as", globex.name, "held", number, acme.name).content
    assert answers["get"] == "TenantMismatch"


def test_reads_an_object_that_a_page_hands_out_itself(town: Town, acme: Tenant, globex: Tenant) -> None:
    number = acme.add(name="Ann")
    answers = town.app.get("as", globex.name, "held", number, acme.name).content
    assert answers["held"] == "= Ann"


def test_makes_no_tenant_by_reading_in_an_invented_name(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    assert town.app.get("invented-by-a-reader", "find", ssn="1")["ids"] == []
    assert town.app.get("invented-by-a-reader", number, "name").error == "TenantMismatch"
    assert town.sql("SELECT * FROM cmk_tenants WHERE tenant LIKE 'invented%'") == []
