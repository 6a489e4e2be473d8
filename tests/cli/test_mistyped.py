"""A mistyped tenant's name is an error, or finds nothing: it makes no tenant, and no key."""

from typing import Any

import pytest

from tests.cli.conftest import Application

NOTHING = ["No such tenant", "no such event"]
MEANT = ["no tenant 'amce' has keys here", "did you mean 'acme'?"]

COMMANDS = {
    "status": ["status", "--tenant", "amce"],
    "status of rows": ["status", "--tenant", "amce", "--rows"],
    "audit": ["audit", "show", "--tenant", "amce"],
    "rotate-dek": ["rotate-dek", "amce"],
    "add-wrapping": ["add-wrapping", "amce", "local:acme"],
    "drop-wrapping": ["drop-wrapping", "amce", "local:pmk", "--yes"],
    "rewrap": ["rewrap", "amce"],
    "drop-retired": ["drop-retired", "amce"],
    "shred": ["shred", "amce", "--confirm", "amce"],
    "rekey plan": ["rekey", "plan", "--tenant", "amce"],
    "rekey run": ["rekey", "run", "--tenant", "amce"],
    "rekey verify": ["rekey", "verify", "--tenant", "amce"],
}


def made(app: Application) -> tuple[list[Any], list[Any]]:
    return app.raw("SELECT tenant FROM cmk_tenants ORDER BY tenant"), app.raw("SELECT id FROM cmk_deks")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_for_a_mistyped_tenant_makes_none(app: Application, name: str) -> None:
    before = made(app)
    result = app.run(*COMMANDS[name])
    assert result.exit_code == (0 if name == "audit" else 5)
    assert any(one in result.output for one in NOTHING) or all(one in result.output for one in MEANT)
    assert made(app) == before


def test_a_tenant_whose_rows_are_not_sealed_yet_is_no_mistake(app: Application) -> None:
    app.execute("INSERT INTO patients (clinic, ssn) VALUES ('initech', 'plain')")
    assert app.run("rekey", "plan", "--tenant", "initech").exit_code == 0
