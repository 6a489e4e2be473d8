"""What a gateway, a proxy or a sign-in page says is an outage; only Key Vault itself gives verdicts."""

from collections.abc import Callable
from typing import Any

import pytest

from sqlalchemy_cmk import CmkError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.azure.conftest import Reach
from tests.providers.places import AzurePlace, vault_place

DEK = Secret(bytes(range(32)))

BODIES: dict[str, Any] = {
    "nothing": None,
    "a page": "<html><title>403 Forbidden</title></html>",
    "a gateway's JSON": {"message": "Forbidden", "error": "forbidden"},
    "a number for a code": {"error": {"code": 403, "message": "Forbidden"}},
    "another service's code": {"error": {"code": "AuthorizationFailed", "message": "no"}},
    "a list": [{"error": {"code": "Forbidden"}}],
    "half a text": '{"error": {"code": "Forbid',
    "no UTF-8": b'{"error": {"code": "\xff\xfe"}}',
    "a deep nest": "[" * 100_000,
}
JSON = {"Content-Type": "application/json"}
STATUSES = (204, 302, 307, 400, 401, 403, 404, 405, 407, 409, 410, 418, 451, 511)


def meant(call: Callable[..., object], *arguments: Any) -> type[CmkError]:
    with pytest.raises(CmkError) as caught:
        call(*arguments)
    assert str(caught.value).isprintable()
    return type(caught.value)


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_of_a_gateway_is_a_verdict(reach: Reach, place: AzurePlace, body: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    for status in STATUSES:
        headers = JSON if isinstance(BODIES[body], str | bytes) and body != "a page" else {}
        place.vault.faults.foreign_answer(status, None if status == 204 else BODIES[body], headers)
        # Each provider is new, for the one before has found the vault out of reach.
        provider = reach.provider()
        assert issubclass(meant(provider.unwrap, wrapped), KeyUnavailable), status
        assert issubclass(meant(provider.wrap, place.kek_uri, DEK), KeyUnavailable), status
        place.vault.faults.clear()
    assert reach.provider().unwrap(wrapped) == DEK


# Not an empty one: older versions of azure-identity trip over it with a TypeError.
SIGN_IN_PAGES: list[Any] = ["<html>", {"message": "no"}, {"error": {"code": "x"}}, {"access_token": None}]


@pytest.mark.parametrize("body", SIGN_IN_PAGES, ids=str)
def test_a_page_in_the_place_of_the_sign_in_service_is_an_outage(
    reach: Reach, place: AzurePlace, body: Any
) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    for status in (200, 302, 400, 401, 403, 404, 407, 418, 503, 511):
        place.emulator.login.faults.foreign_answer(status, body, only=["token"])
        assert issubclass(meant(reach.provider().unwrap, wrapped), KeyUnavailable), status
        place.emulator.login.faults.clear()
    assert reach.provider().unwrap(wrapped) == DEK


ODD = {
    "no body": None,
    "no object": ["value"],
    "no value": {"kid": "x"},
    "an empty value": {"value": ""},
    "no text": {"value": 5},
    "no ASCII": {"value": "DEK\u00e9\u00b2"},
    "spaces": {"value": "AA AA"},
    "a length that no bytes have": {"value": "AAAAA"},
    "a page": "<html>welcome</html>",
    "too much": "[" + "0," * 200_000 + "0]",
}


@pytest.mark.parametrize("body", ODD)
def test_a_success_with_an_odd_body_is_an_outage(reach: Reach, place: AzurePlace, body: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = reach.provider()
    place.vault.faults.foreign_answer(200, ODD[body], only=["unwrapKey", "wrapKey"])
    assert issubclass(meant(provider.unwrap, wrapped), KeyUnavailable)
    assert issubclass(meant(provider.wrap, place.kek_uri, DEK), KeyUnavailable)


def bundle(place: AzurePlace, **changes: Any) -> dict[str, Any]:
    key = {
        "kid": f"{place.kek_uri}/{'0' * 32}",
        "kty": "RSA",
        "n": "AQAB",
        "e": "AQAB",
        "key_ops": ["wrapKey"],
    }
    parts = {"key": key, "attributes": {"enabled": True}}
    for name, value in changes.items():
        part, _, member = name.partition("_")
        parts[part] = {**parts[part], member: value} if member else value
    return parts


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "text"},
        {"key_kid": "https://evil.example/keys/k/../../secrets/x"},
        {"key_kid": 5},
        {"key_kty": "RSA\x1b[31m"},
        {"key_n": "\u00e9"},
        {"key_key_ops": "wrapKey"},
        {"attributes": []},
        {"attributes_enabled": "yes"},
        {"attributes_exp": "tomorrow"},
        {"attributes_nbf": [1]},
        {"attributes_recoveryLevel": "a\nb"},
    ],
    ids=str,
)
def test_a_key_that_is_described_oddly_is_an_outage(place: AzurePlace, changes: dict[str, Any]) -> None:
    provider = place.new_provider(retries=0)
    place.vault.faults.foreign_answer(200, bundle(place, **changes), only=["get"])
    for use in (provider.newest_version, provider.check, lambda uri: provider.wrap(uri, DEK)):
        assert issubclass(meant(use, place.kek_uri), KeyUnavailable)


@pytest.mark.parametrize("after", ["\u00b2", "-1", "nan", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT", "x" * 5000])
def test_an_odd_time_to_wait_is_not_waited_for(reach: Reach, place: AzurePlace, after: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    encoded = after.encode().decode("latin-1")
    place.vault.faults.foreign_answer(429, None, {"Retry-After": encoded})
    assert issubclass(meant(reach.provider().unwrap, wrapped), KeyUnavailable)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    emulator: KeyVaultEmulator, reach: Reach, place: AzurePlace, status: int
) -> None:
    elsewhere = vault_place(emulator)
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    for options in ({}, {"permit_redirects": True}):
        provider = reach.provider(**options)
        place.vault.faults.redirect(f"{elsewhere.kek_uri}?api-version=7.4", status)
        assert issubclass(meant(provider.unwrap, wrapped), KeyUnavailable)
        assert issubclass(meant(provider.newest_version, place.kek_uri), KeyUnavailable)
        place.vault.faults.clear()
    assert len(elsewhere.vault.requests) == 0
    elsewhere.close()


def test_a_refusal_of_the_vault_itself_is_one(reach: Reach, place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    body = {"error": {"code": "Forbidden", "message": "no", "innerError": {"code": "KeyDisabled"}}}
    place.vault.faults.foreign_answer(403, body)
    assert meant(reach.provider().unwrap, wrapped) is KeyRevoked
