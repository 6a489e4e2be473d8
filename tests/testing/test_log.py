"""The log of requests: what a test counts."""

from __future__ import annotations

from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.testing.conftest import Client, problem


def test_a_request_is_noted_with_all_that_is_known_of_it(app: Client, vault: Vault) -> None:
    made = vault.create_key("kek", enabled=False)
    answer = app.unwrap(f"kek/{made.version}", b"wrapped")
    assert problem(answer)[2] == "KeyDisabled"
    challenged, seen = vault.requests
    assert (challenged.status, challenged.principal, challenged.operation) == (401, None, "unwrapKey")
    assert (seen.vault, seen.method, seen.path) == (
        vault.name,
        "POST",
        f"/keys/kek/{made.version}/unwrapkey",
    )
    assert (seen.operation, seen.key, seen.version) == ("unwrapKey", "kek", made.version)
    assert (seen.principal, seen.status, seen.inner) == ("app", 403, "KeyDisabled")


def test_requests_are_counted_by_what_they_have_in_common(app: Client, vault: Vault) -> None:
    vault.create_key("kek")
    wrapped = app.wrap("kek")
    for _ in range(3):
        app.unwrap("kek", wrapped)
    app.unwrap("kek", wrapped[:-1])
    assert vault.requests.count() == len(vault.requests) == 6
    assert vault.requests.count(operation="unwrapKey") == 4
    assert vault.requests.count(operation="unwrapKey", status=200, key="kek", principal="app") == 3
    assert vault.requests.operations() == ["wrapKey"] + ["unwrapKey"] * 4


def test_a_vaults_log_can_be_cleared_and_the_emulators_keeps_all(
    emulator: KeyVaultEmulator, app: Client, vault: Vault
) -> None:
    vault.create_key("kek")
    app.get_key("kek")
    vault.requests.clear()
    app.get_key("kek")
    assert vault.requests.operations() == ["get"]
    assert emulator.requests.count(vault=vault.name, status=200) == 2
