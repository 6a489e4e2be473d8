"""``cmk drop-retired`` looks everywhere, says what keeps a DEK, and takes names of what to ignore."""

from datetime import UTC, datetime

from sqlalchemy import update

from tests.cli.conftest import Application
from tests.support.keys import adopt


def retired_long_ago(app: Application) -> str:
    """Rotate acme's DEK, years ago, and return the one that was retired by it."""
    app.keyring.lifecycle.rotate_dek("acme")
    deks = app.keyring.database.tables.deks
    with app.engine.begin() as connection:
        long_ago = {"retired_at": datetime(2020, 1, 1, tzinfo=UTC)}
        connection.execute(update(deks).where(deks.c.retired_at.is_not(None)).values(long_ago))
    adopt(app.keyring)
    return next(one.hex() for one, state in app.keyring.dek_states().items() if state == "retired")


def test_an_archive_keeps_a_dek_until_it_is_ignored(app: Application) -> None:
    app.write("acme")
    app.execute("CREATE TABLE archive AS SELECT * FROM patients")
    for table in ("patients", "visits", "letters", "documents"):
        app.execute(f"DELETE FROM {table}")
    old = retired_long_ago(app)
    result = app.run("drop-retired", "acme")
    assert result.exit_code == 1 and "archive.ssn (of no model: see --ignore)" in result.stderr
    done = app.json("drop-retired", "acme", "--ignore", "archive")
    assert done == {"dropped": [old], "kept": {}, "sampled": [], "requested": {}}


def test_a_view_in_the_place_of_a_table_is_an_error(app: Application) -> None:
    app.write("acme")
    app.execute("ALTER TABLE visits RENAME TO real_visits")
    app.execute("CREATE VIEW visits AS SELECT * FROM real_visits WHERE id < 0")
    old = retired_long_ago(app)
    error = app.json("drop-retired", code=5)
    assert error["error"] == "ConfigurationError" and "visits is a view" in error["message"]
    assert app.keyring.dek_states()[bytes.fromhex(old)] == "retired"
