"""A reader waits for a vault no longer than the bound, however slowly the vault or the sign-in answers."""

import threading
import time
from collections.abc import Callable

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.providers.azure.attempts import MAX_ABANDONED, Attempts, Worker
from sqlalchemy_cmk.runtime.secret import Secret
from tests.providers.azure.conftest import Reach
from tests.providers.places import AzurePlace

DEK = Secret(bytes(range(32)))
BOUND = 2
# Far from the bound on a busy machine, and far from the minutes that the answers below would take.
LONG = 30


def held(call: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(KeyUnavailable):
        call()
    return time.monotonic() - began


def hanging() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if isinstance(one, Worker) and one.busy}


def ended(before: set[threading.Thread]) -> bool:
    """Whether nothing hangs any more but what hung before."""
    deadline = time.monotonic() + LONG
    while hanging() - before and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return not hanging() - before


def test_a_body_that_comes_byte_by_byte_holds_no_reader(reach: Reach, place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = reach.provider(retry_bound=BOUND, retries=3)
    place.vault.faults.drip(0.5)
    assert held(lambda: provider.unwrap(wrapped)) < LONG
    assert held(lambda: provider.wrap(place.kek_uri, DEK)) < LONG


def test_a_sign_in_that_answers_byte_by_byte_holds_no_reader(reach: Reach, place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = reach.provider(retry_bound=BOUND)
    place.emulator.login.faults.drip(0.5, only=["token"])
    assert held(lambda: provider.unwrap(wrapped)) < LONG


def test_an_answer_that_never_begins_holds_no_reader(reach: Reach, place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = reach.provider(retry_bound=BOUND)
    place.vault.faults.delay(120)
    assert held(lambda: provider.unwrap(wrapped)) < LONG


def test_a_request_that_nobody_waits_for_ends_with_its_connection(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = place.new_provider(retry_bound=BOUND, retries=0)
    before = hanging()
    place.vault.faults.drip(5)
    held(lambda: provider.unwrap(wrapped))
    assert ended(before)


def test_repetitions_share_the_bound(place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = place.new_provider(retry_bound=BOUND, retries=100)
    place.vault.faults.fail(503)
    assert held(lambda: provider.unwrap(wrapped)) < LONG


def test_a_vault_that_answers_again_serves_after_slow_bodies(reach: Reach, place: AzurePlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    provider = reach.provider(retry_bound=BOUND)
    place.vault.faults.drip(0.5, times=1)
    held(lambda: provider.unwrap(wrapped))
    patient = reach.provider()
    assert patient.unwrap(wrapped) == DEK


def test_requests_that_hang_are_not_piled_up_without_end() -> None:
    attempts, release, before = Attempts(), threading.Event(), hanging()
    for _ in range(MAX_ABANDONED):
        held(lambda: attempts.within(0.01, release.wait))
    with pytest.raises(KeyUnavailable, match="still hang"):
        attempts.within(60, lambda: None)
    release.set()
    assert ended(before)
    assert attempts.within(60, lambda: "answer") == "answer"


def test_what_a_request_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        Attempts().within(60, fail)


@pytest.mark.parametrize("bound", [0, float("inf")])
def test_a_bound_is_a_time(bound: float) -> None:
    with pytest.raises(ConfigurationError, match="retry_bound"):
        AzureKeyVaultProvider(object(), retry_bound=bound)
