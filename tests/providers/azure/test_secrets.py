"""No DEK is to be seen in what a crash reporter sends of a failed request: locals, contexts, texts."""

import traceback
from collections.abc import Callable

import pytest

from sqlalchemy_cmk import CmkError
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing.provider_contract import spellings
from tests.providers.azure.conftest import Reach
from tests.providers.places import AzurePlace
from tests.support.crash_reports import crash_report

DEK = bytes(range(100, 132))

FAULTS: dict[str, Callable[[AzurePlace], object]] = {
    "dropped": lambda place: place.vault.faults.drop(),
    "half an answer": lambda place: place.vault.faults.half_answer(),
    "slow": lambda place: place.vault.faults.drip(0.5),
    "a page": lambda place: place.vault.faults.foreign_answer(200, "<html>"),
    "an echo": lambda place: place.vault.faults.foreign_answer(200, {"value": "ZGVmZ2hpamtsbW5vcHFyc3R1dg"}),
    "revoked": lambda place: place.vault.revoke(place.emulator.app),
    "throttled": lambda place: place.vault.faults.throttle(None),
    "sign-in": lambda place: place.emulator.login.expire_tokens(),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_failed_request_holds_no_dek(reach: Reach, place: AzurePlace, case: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, Secret(DEK))
    provider = reach.provider(version_check=3600, retry_bound=10 if case != "slow" else 2)
    provider.wrap(place.kek_uri, Secret(DEK))
    FAULTS[case](place)
    for use in (lambda: provider.wrap(place.kek_uri, Secret(DEK)), lambda: provider.unwrap(wrapped)):
        try:
            assert use() is not None
        except CmkError as error:
            shown = crash_report(error) + "".join(traceback.format_exception(error))
            assert not any(secret in shown for secret in spellings(DEK))
        else:
            assert case in ("an echo",), "nothing failed"


def test_a_request_shows_no_body() -> None:
    request = VaultRequest("POST", "keys/k/unwrapkey", {"alg": "A256KW"}, Secret(DEK))
    content = request.content()
    assert content is not None and b"A256KW" in content
    assert repr(request) == "<POST keys/k/unwrapkey>"
