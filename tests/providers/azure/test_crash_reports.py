"""No error about a vault shows a crash reporter a DEK, a token or the application's secret."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sqlalchemy_cmk import CmkError, KeyUnavailable
from sqlalchemy_cmk.providers import Secret
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.faults.watching import found
from tests.providers.azure.test_provider import REVOKED, UNAVAILABLE
from tests.providers.places import AzurePlace, vault_place
from tests.support.crash_reports import Failures, chain, crash_report

DEK = bytes(range(100, 132))
WRONG = "not-the-secret-0815"
KEYS = {"DEK": DEK, "token": "Bearer ey", "secret": WRONG}


@pytest.fixture
def place(emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
    place = vault_place(emulator)
    yield place
    place.close()


@pytest.fixture(params=["blocking", "asynchronous"])
def options(request: pytest.FixtureRequest, emulator: KeyVaultEmulator) -> dict[str, Any]:
    return {} if request.param == "blocking" else {"credential": emulator.async_credential}


def failure(work: Callable[[], object]) -> CmkError:
    with pytest.raises(CmkError) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("case", [*REVOKED, *UNAVAILABLE])
def test_no_failure_of_a_vault_shows_a_key_or_a_token(
    place: AzurePlace, options: dict[str, Any], case: str
) -> None:
    provider = place.new_provider(**options)
    wrapped = provider.wrap(place.kek_uri, Secret(DEK))
    provider.unwrap(wrapped)
    {**REVOKED, **UNAVAILABLE}[case](place)
    errors = [failure(lambda: provider.unwrap(wrapped))]
    try:
        provider.wrap(place.kek_uri, Secret(DEK))
    except CmkError as error:
        errors.append(error)
    for error in errors:
        assert found(KEYS, crash_report(error)) == []
        # The SDK's frames, which hold the request and the token, are no part of it.
        assert all(isinstance(one, CmkError) for one in chain(error))
    place.vault.faults.clear()
    provider.close()


def test_a_refused_secret_is_not_shown(place: AzurePlace) -> None:
    provider = place.new_provider(credential=place.emulator.credential(secret=WRONG))
    error = failure(lambda: provider.wrap(place.kek_uri, Secret(DEK)))
    assert found(KEYS, crash_report(error)) == []
    assert all(isinstance(one, CmkError) for one in chain(error))


def test_a_vault_provider_that_fails_anywhere_shows_no_key_and_no_token(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, Secret(DEK))

    def use() -> None:
        place.provider.check(place.kek_uri)
        place.provider.wrap(place.kek_uri, Secret(DEK))
        assert place.provider.unwrap(wrapped) == Secret(DEK)

    shown = {}
    for where, error in Failures(("/sqlalchemy_cmk/providers/azure/",), KeyUnavailable).each(use):
        if leaked := found(KEYS, crash_report(error)):
            shown[where] = leaked
    assert shown == {}
