"""What databases hold reaches neither a terminal's control sequences nor a line of its own."""

from sqlalchemy import text

from tests.cli.conftest import Application

EVIL = "a\x1b]0;x\x07\x1b[2J\r\nok: well\u2028\x85\u202e"
COMMANDS = [
    ("status",),
    ("status", "--newest", "--rows"),
    ("audit", "show"),
    ("audit", "verify"),
    ("doctor",),
    ("rewrap",),
    ("rekey", "plan"),
    ("rekey", "run", "--rate", "0"),
    ("rekey", "report"),
    ("drop-retired",),
]


def assert_plain(shown: str) -> None:
    # Only the command itself ends lines; what begins one is never what a row holds.
    assert all(one.isprintable() for one in shown.split("\n")), repr(shown)
    assert not any(line.startswith("ok: well") for line in shown.split("\n"))


def test_a_tenants_name_is_escaped_in_every_output(app: Application) -> None:
    app.write(EVIL)
    app.keyring.lifecycle.rotate_dek(EVIL)
    for command in COMMANDS:
        result = app.run(*command)
        assert_plain(result.stdout + result.stderr)
    for command in (
        ("assign", "--yes", EVIL, "local:new"),
        ("rotate-dek", EVIL),
        ("shred", EVIL, "--confirm", EVIL),
    ):
        result = app.run(*command)
        assert result.exit_code == 0
        assert_plain(result.stdout + result.stderr)


def test_whatever_else_the_key_tables_hold_is_escaped(app: Application) -> None:
    app.write("acme")
    app.run("rekey", "run", "--rate", "0")
    for table, columns in {
        "cmk_tenants": ("kek_uri", "reason"),
        "cmk_wrappings": ("kek_uri", "kek_version", "algorithm"),
        "cmk_audit": ("event", "tenant", "kek_uri", "kek_version", "actor", "detail", "hash"),
        "cmk_audit_head": ("hash",),
    }.items():
        for column in columns:
            with app.engine.begin() as connection:
                before = connection.execute(text(f"SELECT rowid, {column} FROM {table}")).all()
                connection.execute(text(f"UPDATE {table} SET {column} = :evil"), {"evil": EVIL})
            for command in COMMANDS:
                result = app.run(*command)
                assert_plain(result.stdout + result.stderr)
            with app.engine.begin() as connection:
                for rowid, value in before:
                    statement = text(f"UPDATE {table} SET {column} = :value WHERE rowid = :rowid")
                    connection.execute(statement, {"value": value, "rowid": rowid})
