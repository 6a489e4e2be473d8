"""`cmk rekey indexes` and `cmk doctor`: how far search indexes are, and what is wrong with them."""

import json
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.cli.options import use_keyring
from sqlalchemy_cmk.cli.rekey import rekey
from sqlalchemy_cmk.doctor import check_columns
from sqlalchemy_cmk.keys.indexes import catalogue, records
from sqlalchemy_cmk.search import Compound, Exact
from tests.support.vault import Vault, make_vault

__all__ = ["make_vault"]


class Clinic:
    def __init__(self, vault: Vault, *, together: bool = False) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            email: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact()]))
            __cmk_indexes__ = (Compound("email", "name"),) if together else ()
            name: Mapped[str] = mapped_column(EncryptedType(String(40)))

        self.vault, self.Patient = vault, Patient
        vault.create()
        with vault.session() as session, session.begin():
            session.add_all(Patient(id=i, clinic="acme", email=f"e{i % 3}", name="n") for i in range(150))

    def invoke(self, *arguments: str) -> Any:
        main = click.Group(
            "main", callback=lambda: use_keyring(click.get_current_context(), self.vault.keyring)
        )
        main.add_command(rekey)
        return CliRunner().invoke(main, ["rekey", "indexes", *arguments], catch_exceptions=False)

    def run(self, *arguments: str) -> Any:
        result = self.invoke(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1]) if arguments else json.loads(result.stdout)

    def found(self) -> int:
        query = select(self.Patient.id).where(self.Patient.clinic == "acme", self.Patient.email == "e1")
        with self.vault.session() as session:
            return len(session.scalars(query).all())

    def findings(self) -> dict[str, str]:
        return {one.what.split(",")[0]: one.level for one in check_columns(self.vault.keyring)}


@pytest.fixture
def clinic(make_vault: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.0)
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.01)
    return Clinic(make_vault())


def test_keys_of_all_indexes_are_rotated_by_one_command(clinic: Clinic) -> None:
    assert [(one["index"], one["state"]) for one in clinic.run()] == [("patients.email_exact", "ready")]
    assert clinic.run("--rotate") == {
        "event": "report",
        "indexes": ["patients.email_exact"],
        "retired": 1,
    }
    assert [(one["index"], one["keys"]) for one in clinic.run()] == [("patients.email_exact__2", "search-2")]
    assert clinic.found() == 50
    assert clinic.run("--build")["built"] == []


def test_indexes_over_several_columns_are_rotated_with_the_others(
    make_vault: Callable[..., Vault], clinic: Clinic
) -> None:
    clinic = Clinic(make_vault(), together=True)
    assert clinic.run("--rotate")["indexes"] == ["patients.email_exact", "patients.email_name_compound"]
    assert {one["index"] for one in clinic.run()} == {
        "patients.email_exact__2",
        "patients.email_name_compound__2",
    }
    both = clinic.Patient.email == "e1", clinic.Patient.name == "n"
    query = select(clinic.Patient.id).where(clinic.Patient.clinic == "acme", *both)
    with clinic.vault.session() as session:
        assert len(session.scalars(query).all()) == 50


def test_a_build_that_was_left_is_finished_by_the_command(clinic: Clinic) -> None:
    (stored,) = clinic.vault.keyring.indexes.stored()
    with clinic.vault.engine.begin() as connection:
        clinic.vault.keyring.indexes.change(connection, stored, records.IndexState.BUILDING)
        connection.exec_driver_sql("UPDATE patients SET email_exact = NULL")
    assert any(what.startswith("is being built") for what in clinic.findings())
    assert clinic.run("--build")["built"] == ["patients.email_exact"]
    assert clinic.found() == 50


def test_rows_without_tokens_are_a_problem_and_few_values_a_warning(clinic: Clinic) -> None:
    few = "few values: 3 in 150 rows: who knows how frequent each is knows them all from a stolen table"
    assert clinic.findings()[few] == "warning"
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET email_exact = NULL WHERE id < 2")
    assert clinic.findings()["2 or more rows have a value and no token"] == "problem"


def test_rows_without_tokens_are_counted_by_the_command(clinic: Clinic) -> None:
    assert [one["without_token"] for one in json.loads(clinic.invoke("--check", "--json").stdout)] == [0]
    with clinic.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET email_exact = NULL WHERE id < 3")
    found = clinic.invoke("--check", "--json")
    assert found.exit_code == 1 and [one["without_token"] for one in json.loads(found.stdout)] == [3]
    assert "patients.email_exact: 3 rows or more without a token" in clinic.invoke("--check").stdout
    assert clinic.invoke("--check", "--build").exit_code == 2
    clinic.run("--rotate")
    assert clinic.invoke("--check").exit_code == 0


def test_warm_opens_the_keys_of_tokens_where_there_are_indexes(clinic: Clinic) -> None:
    keyring = clinic.vault.keyring
    keyring.forget()
    keyring.warm(["acme", ""], new=True)
    opened = {one.tenant: one.open for one in keyring.status(["acme", ""])}
    assert opened == {"acme": 2, "": 1}
