"""`cmk doctor`: what is well, what is not, and how to fix it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.cli.conftest import ROOT, SECRET, Application
from tests.support.databases import Database
from tests.support.keys import adopt

COLUMNS = ("patients.ssn", "patients.email", "visits.reason", "letters.body", "settings.token")


def examined(app: Application, code: int) -> dict[str, tuple[str, str]]:
    """The worst finding for each subject: its level, and what was found."""
    found: dict[str, tuple[str, str]] = {}
    order = ("ok", "warning", "problem")
    for one in app.json("doctor", code=code)["findings"]:
        assert bool(one["remedy"]) is (one["level"] != "ok"), one
        before = found.get(one["subject"], ("ok", ""))
        if order.index(one["level"]) >= order.index(before[0]):
            found[one["subject"]] = one["level"], one["what"]
    return found


def overwrite(app: Application, column: str, stored: Any, tenant: str = "acme") -> None:
    app.execute(f"UPDATE patients SET {column} = :v WHERE clinic = :c", v=stored, c=tenant)


def stored(app: Application, column: str, tenant: str = "acme") -> bytes:
    ((value,),) = app.raw(f"SELECT {column} FROM patients WHERE clinic = '{tenant}'")
    return bytes(value)


def test_all_is_well(app: Application) -> None:
    with Session(app.engine) as session:
        session.add(app.models.Setting(token=SECRET))
        session.commit()
    found = examined(app, 0)
    assert {level for level, _ in found.values()} == {"ok"}
    keys = {"key tables", "record key", "keys of tenants", "audit trail", "local:pmk", "local:acme"}
    assert {*keys, "settings", *COLUMNS} == set(found)
    assert "the values still open after a tenant revokes their key" in found["settings"][1]
    assert all("opens" in found[column][1] for column in COLUMNS)


def test_a_value_of_each_tenant_is_tried_where_that_is_cheap(app: Application) -> None:
    found = examined(app, 0)
    assert "2 stored values" in found["patients.ssn"][1]
    assert "1 stored value" in found["visits.reason"][1]


def test_people_read_what_is_wrong_and_how_to_mend_it(app: Application) -> None:
    app.execute("DROP TABLE visits")
    result = app.run("doctor")
    assert result.exit_code == 1 and result.stdout.rstrip().endswith("0 warnings, 1 problem")
    at = next(i for i, line in enumerate(result.stdout.splitlines()) if line.startswith("problem visits"))
    assert "create the table" in result.stdout.splitlines()[at + 1]


def test_doctor_works_on_every_database(
    database: Database, make_application: Callable[..., Application]
) -> None:
    app = make_application(database.url)
    app.write("acme", "globex")
    found = examined(app, 0)
    assert all("opens" in found[column][1] for column in COLUMNS if column != "settings.token")
    app.execute("DROP TABLE visits")
    overwrite(app, "ssn", bytes(stored(app, "ssn"))[:-1] + b"\x00")
    found = examined(app, 1)
    assert found["visits"][0] == "problem"
    assert found["patients.ssn"][0] == "problem" and "altered" in found["patients.ssn"][1]


def test_doctor_works_with_an_async_engine(
    async_database: Database, make_application: Callable[..., Application]
) -> None:
    app = make_application(async_database.url, async_database.async_url)
    app.write("acme", "globex")
    found = examined(app, 0)
    assert all("opens" in found[column][1] for column in COLUMNS if column != "settings.token")


def test_a_column_without_values_is_fine(app: Application) -> None:
    assert examined(app, 0)["settings.token"] == ("ok", "holds no value yet")


def test_a_new_installation_is_warned_that_its_first_kek_is_not_made_yet(
    make_application: Callable[..., Application], sqlite_database: Database
) -> None:
    app = make_application(sqlite_database.url)
    level, what = examined(app, 0)["local:pmk"]
    assert level == "warning" and "does not exist" in what
    assert not (app.folder / "keys.json").exists()


def test_a_key_file_that_is_gone_is_a_problem_once_something_is_wrapped(app: Application) -> None:
    (app.folder / "keys.json").unlink()
    found = examined(app, 1)
    assert found["local:pmk"][0] == found["local:acme"][0] == "problem"
    assert found["patients.ssn"][0] == "warning" and "not tried" in found["patients.ssn"][1]


COUNTING = """
import clinic_app


class Counting(clinic_app.LocalKeyProvider):
    def unwrap(self, wrapped):
        with open("unwraps", "a") as log:
            log.write(wrapped.kek_uri + chr(10))
        return super().unwrap(wrapped)


clinic_app.LocalKeyProvider = Counting
keyring = clinic_app.keyring
"""


def test_a_kek_that_cannot_be_reached_is_asked_once_for_a_dek(app: Application) -> None:
    (app.folder / "counting.py").write_text(COUNTING)
    (app.folder / "keys.json").unlink()
    assert app.run("doctor", place="counting:keyring").exit_code == 1
    # Two KEKs, each with one wrapping; then two tenants with two DEKs each, in six stored values.
    assert len((app.folder / "unwraps").read_text().splitlines()) == 6


def test_missing_key_tables_are_named(app: Application) -> None:
    app.execute("DROP TABLE cmk_audit_head")
    app.execute("ALTER TABLE cmk_tenants DROP COLUMN reason")
    found = examined(app, 1)
    level, what = found["key tables"]
    assert level == "problem" and "the table cmk_audit_head" in what and "column cmk_tenants.reason" in what
    assert "create_all" in app.run("doctor").stdout


def test_a_database_that_cannot_be_reached_is_a_problem_not_a_traceback(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINIC_URL", "sqlite:////nowhere/at/all.sqlite")
    level, what = examined(app, 1)["key tables"]
    assert level == "problem" and "cannot be reached" in what


def test_a_kek_that_refuses_is_a_problem_and_other_tenants_are_looked_at(app: Application) -> None:
    app.provider.disable("local:acme")
    findings = app.json("doctor", code=1)["findings"]
    problems = [one["subject"] for one in findings if one["level"] == "problem"]
    assert problems == ["local:acme"]
    ssn = {one["level"]: one["what"] for one in findings if one["subject"] == "patients.ssn"}
    assert "disabled" in ssn["warning"] and "opens, tried on 1 stored value" in ssn["ok"]


def test_a_revoked_value_of_a_column_that_loads_it_sealed_is_told_too(app: Application) -> None:
    app.execute("DELETE FROM visits WHERE clinic = 'globex'")
    app.provider.disable("local:acme")
    level, what = examined(app, 1)["visits.reason"]
    assert level == "warning" and "disabled" in what


def test_a_kek_without_a_provider_is_a_problem(app: Application) -> None:
    app.execute("UPDATE cmk_tenants SET kek_uri = 'pkcs11:token=T;object=K' WHERE tenant = 'acme'")
    adopt(app.keyring)
    level, what = examined(app, 1)["pkcs11:token=T;object=K"]
    assert level == "problem" and "no provider" in what


def test_a_shredded_tenants_values_and_kek_are_no_problem(app: Application) -> None:
    app.run("shred", "acme", "--confirm", "acme")
    app.provider.disable("local:acme")
    found = examined(app, 0)
    assert "local:acme" not in found
    assert found["patients.ssn"] == ("ok", "opens, tried on 1 stored value")
    assert {level for level, _ in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda value: value[:-1] + bytes([value[-1] ^ 1]), "altered"),
        (lambda value: value[:20], "truncated"),
        (lambda value: SECRET, "plain text"),
        (lambda value: b"\x01" + bytes(8) + value[9:], "there is no DEK"),
    ],
    ids=["a flipped bit", "truncated", "plain text", "an unknown DEK"],
)
def test_a_damaged_value_is_named_and_not_shown(
    app: Application, damage: Callable[[bytes], Any], said: str
) -> None:
    overwrite(app, "ssn", damage(stored(app, "ssn")))
    level, what = examined(app, 1)["patients.ssn"]
    assert level == "problem" and said in what
    assert SECRET not in app.run("doctor").output


def test_a_value_of_another_tenant_is_a_problem(app: Application) -> None:
    overwrite(app, "ssn", stored(app, "ssn", "globex"))
    level, what = examined(app, 1)["patients.ssn"]
    assert level == "problem" and "'acme'" in what and "'globex'" in what


def test_a_broken_audit_trail_is_a_problem(app: Application) -> None:
    app.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq = 1")
    level, what = examined(app, 1)["audit trail"]
    assert level == "problem" and "row 1 was changed" in what


def test_no_message_sends_anybody_to_a_page_that_is_not_installed() -> None:
    sources = (ROOT / "sqlalchemy_cmk").rglob("*.py")
    messages = re.compile(r'"[^"\n]*\bdocs/[\w-]+\.md')
    assert [str(one) for one in sources if messages.search(one.read_text().replace('"""', ""))] == []
