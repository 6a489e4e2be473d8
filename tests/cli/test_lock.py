"""`cmk lock` and `cmk unlock`."""

from tests.cli.conftest import Application


def test_lock_closes_a_tenants_keys_and_unlock_opens_them(app: Application) -> None:
    assert app.json("lock", "acme", "--reason", "lost laptop") == {"tenant": "acme", "state": "locked"}
    line = app.status("acme")
    assert line["state"] == "locked" and line["reason"] == "lost laptop"
    assert app.json("rotate-dek", "acme", code=3)["error"] == "KeyLocked"
    assert app.run("unlock", "acme").stdout == "acme is not locked\n"
    assert app.status("acme")["state"] == "ok"


def test_a_tenant_that_does_not_exist_is_not_locked(app: Application) -> None:
    assert app.json("lock", "nobody", code=5)["error"] == "ConfigurationError"


def test_doctor_says_of_a_locked_tenants_values_that_they_are_to_be_unlocked(app: Application) -> None:
    app.run("lock", "acme")
    warned = [one for one in app.json("doctor")["findings"] if one["subject"] == "patients.ssn"][:1]
    assert [one["level"] for one in warned] == ["warning"] and "cmk unlock" in warned[0]["remedy"]
