"""`cmk shred`: nothing is destroyed by accident."""

import pytest

from tests.cli.conftest import Application


def wrappings(app: Application, tenant: str) -> int:
    query = "SELECT count(*) FROM cmk_wrappings w JOIN cmk_deks d ON d.id = w.dek_id WHERE d.tenant = "
    ((count,),) = app.raw(f"{query}'{tenant}'")
    return int(count)


def test_the_tenants_name_typed_back_destroys_its_keys_and_no_others(app: Application) -> None:
    result = app.run("shred", "acme", typed="acme\n")
    assert result.exit_code == 0 and result.stdout == "acme is shredded\n"
    assert "can ever be opened again" in result.stderr and "2 DEKs" in result.stderr
    assert wrappings(app, "acme") == 0 and wrappings(app, "globex") == 2
    assert app.status("acme")["state"] == "shredded"


@pytest.mark.parametrize("typed", ["globex\n", "y\n", "ACME\n", "\n"])
def test_another_name_destroys_nothing(app: Application, typed: str) -> None:
    result = app.run("shred", "acme", typed=typed)
    assert result.exit_code == 5 and "nothing was shredded" in result.stderr
    assert wrappings(app, "acme") == 2 and app.status("acme")["state"] == "ok"


def test_no_answer_destroys_nothing(app: Application) -> None:
    result = app.process("shred", "acme")
    assert result.returncode == 2 and "nothing was done" in result.stderr
    assert wrappings(app, "acme") == 2


def test_a_script_confirms_with_the_name(app: Application) -> None:
    assert app.json("shred", "acme", "--confirm", "acme") == {"tenant": "acme", "state": "shredded"}
    assert wrappings(app, "acme") == 0
    assert app.run("shred", "acme", "--confirm", "acme").exit_code == 0


@pytest.mark.parametrize("name", ["globex", "", "acme "])
def test_a_script_with_another_name_destroys_nothing(app: Application, name: str) -> None:
    assert app.json("shred", "acme", "--confirm", name, code=5)["error"] == "ConfigurationError"
    assert wrappings(app, "acme") == 2


def test_the_platform_is_refused_without_a_question(app: Application) -> None:
    app.keyring.warm([""])
    for arguments in (["shred", ""], ["shred", "", "--confirm", ""]):
        result = app.run(*arguments)
        assert result.exit_code == 5 and "platform" in result.stderr
    assert wrappings(app, "") == 1


def test_an_unknown_tenant_is_not_asked_about(app: Application) -> None:
    result = app.run("shred", "nobody")
    assert result.exit_code == 5 and "no tenant 'nobody'" in result.stderr and "Type" not in result.stderr
