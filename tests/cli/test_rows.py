"""`cmk status --rows` and `cmk drop-retired`: what is under which DEK, and what may go."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import SECRET, Application
from tests.support.databases import Database
from tests.support.keys import adopt


def columns(application: Application) -> dict[str, Any]:
    return {one["column"]: one for one in application.json("status", "--rows")["columns"]}


@pytest.fixture
def mixed(make_application: Callable[..., Application], database: Database) -> Application:
    """An application whose visits' reasons are being adopted, on each database: one is not sealed yet."""
    application = make_application(database.url)
    module = application.folder / "clinic_app.py"
    module.write_text(module.read_text().replace('on_revoked="seal"', "accept_plaintext=True"))
    application.write("acme", "globex")
    plain: Any = "a cold" if database.name == "sqlite" else b"a cold"
    application.execute("INSERT INTO visits (id, clinic, reason) VALUES (9, 'acme', :r)", r=plain)
    application.execute("INSERT INTO visits (id, clinic) VALUES (10, 'acme')")
    return application


def test_rows_are_counted_by_the_state_of_their_dek(mixed: Application) -> None:
    mixed.run("rotate-dek", "acme")
    mixed.run("shred", "globex", "--confirm", "globex")
    visits = columns(mixed)["visits.reason"]
    assert visits["accepts_plaintext"] is True
    counts = {name: visits[name] for name in ("active", "retired", "destroyed", "plain", "null")}
    assert counts == {"active": 0, "retired": 1, "destroyed": 1, "plain": 1, "null": 1}
    assert sorted(visits["by_dek"].values()) == [1, 1]
    assert columns(mixed)["settings.token"]["by_dek"] == {}


def test_the_table_shows_the_same(mixed: Application) -> None:
    shown = mixed.run("status", "--rows").stdout
    line = next(one for one in shown.splitlines() if one.strip().startswith("visits.reason"))
    assert line.split() == ["visits.reason", "2", "0", "0", "1", "1"]
    assert "2 tenants: 2 ok" in shown and "a cold" not in shown


def test_without_rows_a_mixed_column_is_named_and_nothing_is_counted(mixed: Application) -> None:
    result = mixed.run("status")
    assert "visits.reason accepts plaintext" in result.stderr
    assert "not sealed" not in result.stdout
    assert "columns" not in mixed.json("status")


def test_plaintext_in_a_strict_column_is_counted_too(app: Application) -> None:
    app.execute("UPDATE patients SET ssn = :v WHERE clinic = 'acme'", v=SECRET)
    patients = columns(app)["patients.ssn"]
    assert patients["plain"] == 1 and patients["accepts_plaintext"] is False
    assert SECRET not in app.run("status", "--rows").output


def test_a_table_that_is_not_there_does_not_end_the_count(app: Application) -> None:
    app.execute("DROP TABLE visits")
    found = columns(app)
    assert "visits" in found["visits.reason"]["problem"] and found["patients.ssn"]["active"] == 2
    assert app.run("status", "--rows").exit_code == 0


def retire_long_ago(application: Application) -> None:
    moment = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    application.execute("UPDATE cmk_deks SET retired_at = :t WHERE retired_at IS NOT NULL", t=moment)
    adopt(application.keyring)


def test_a_retired_dek_with_rows_is_kept_and_its_column_named(app: Application) -> None:
    app.run("rotate-dek", "acme")
    retire_long_ago(app)
    result = app.run("drop-retired", "acme")
    assert result.exit_code == 1
    for where in ("patients.ssn: 1 row", "visits.reason: 1 row", "letters.body: 1 row"):
        assert where in result.stderr
    assert "0 retired DEKs destroyed, 1 kept" in result.stdout


def test_a_retired_dek_without_rows_is_destroyed(app: Application) -> None:
    app.run("rotate-dek", "acme")
    for table in ("letters", "visits", "patients"):
        app.execute(f"DELETE FROM {table}")
    assert "other processes may seal" in app.run("drop-retired").stderr
    retire_long_ago(app)
    told = app.json("drop-retired")
    assert len(told["dropped"]) == 1 and told["kept"] == {}
    assert app.status("acme")["deks"] == {"active": 2, "retired": 0}
    assert app.run("audit", "verify").exit_code == 0
    assert "drop_retired" in app.run("audit", "show").stdout
    assert app.json("drop-retired") == {"dropped": [], "kept": {}, "requested": {}, "sampled": []}


def test_an_async_engines_rows_are_counted(
    make_application: Callable[..., Application], async_database: Database
) -> None:
    application = make_application(async_database.url, async_database.async_url)
    application.write("acme")
    assert columns(application)["patients.ssn"]["active"] == 1
    assert application.json("drop-retired") == {"dropped": [], "kept": {}, "requested": {}, "sampled": []}
    application.run("rotate-dek", "acme")
    retire_long_ago(application)
    (why,) = application.json("drop-retired", code=1)["kept"].values()
    assert "patients.ssn: 1 row" in why
