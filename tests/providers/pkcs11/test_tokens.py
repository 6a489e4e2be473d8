"""Sessions with tokens: lost, logged out, restarted, absent and forked, and no more of them than needed."""

import ctypes
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers import Pkcs11KeyProvider, Wrapped
from sqlalchemy_cmk.providers.pkcs11.module import Module, module_at
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing.provider_contract import damaged
from tests.keys.processes import in_fork
from tests.providers.token_places import TokenPlace
from tests.support.hsm import PIN
from tests.support.hsm.boundary import Counted, instead_of
from tests.support.hsm.softhsm import SoftHsm

# python-pkcs11 tries to end a search that could not begin, and complains when that fails too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DEK = Secret(bytes(range(32)))
SERIAL_NUMBER = 32 + 32 + 16  # where it is in CK_TOKEN_INFO
STRESS = [f"stress-{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def module(softhsm: SoftHsm) -> Module:
    module = module_at(softhsm.module)
    module._last_restart = float("-inf")
    return module


def test_one_session_is_kept_and_nothing_is_left_in_the_token(soft: TokenPlace, module: Module) -> None:
    fresh = soft.new_provider()
    for provider in soft.made[:-1]:
        provider.close()
    counted = Counted()
    with counted.watching(module.path):
        wrapped = fresh.wrap(soft.kek_uri, DEK)
        for _ in range(20):
            assert fresh.unwrap(wrapped) == DEK
            fresh.wrap(soft.other_kek_uri, DEK)
        assert len(counted.sessions) == 1 and counted.objects == 0 and counted.logins == 1
        for data in damaged(wrapped.data):
            with pytest.raises(TamperedError):
                fresh.unwrap(Wrapped(soft.kek_uri, wrapped.kek_version, wrapped.algorithm, data))
        soft.revoke()
        with pytest.raises(KeyRevoked):
            fresh.unwrap(wrapped)
        assert len(counted.sessions) == 1 and counted.objects == 0 and counted.logins == 1
        fresh.close()
        assert counted.sessions == set() and counted.most_inside == 1


def test_objects_in_the_token_are_as_many_as_before(place: TokenPlace) -> None:
    before = place.hsm.owner(place.label, "count", "")
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    assert place.provider.unwrap(wrapped) == DEK
    with pytest.raises(TamperedError):
        place.provider.unwrap(Wrapped(place.kek_uri, wrapped.kek_version, wrapped.algorithm, b"x" * 40))
    assert place.hsm.owner(place.label, "count", "") == before


def test_a_provider_that_closes_leaves_anothers_keys_alone(place: TokenPlace) -> None:
    first, second = place.new_provider(), place.new_provider()
    wrapped = first.wrap(place.kek_uri, DEK)
    assert first.unwrap(wrapped) == second.unwrap(wrapped) == DEK
    first.close()  # which logs the whole process out
    place.provider.close()
    assert second.unwrap(wrapped) == DEK and second.wrap(place.kek_uri, DEK).kek_version
    assert first.unwrap(wrapped) == DEK


def test_a_token_that_was_restarted_is_used_again(place: TokenPlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    assert place.provider.unwrap(wrapped) == DEK
    with module_at(place.hsm.module).exclusive() as library:
        library.reinitialize()
    assert place.provider.unwrap(wrapped) == DEK
    with module_at(place.hsm.module).exclusive() as library:
        library.finalize()
    assert place.provider.unwrap(wrapped) == DEK


def test_numbers_of_sessions_that_others_have_after_a_restart_are_not_mistaken(
    softhsm: SoftHsm, module: Module
) -> None:
    name = os.urandom(8).hex()
    uris = [softhsm.uri(label, name) for label in STRESS]
    for label in STRESS:
        softhsm.owner(label, "make-aes", name, "01")  # the same name and id in every token
    providers = [Pkcs11KeyProvider(softhsm.module, pin=lambda label: PIN, profile="softhsm") for _ in uris]
    wrapped = [provider.wrap(uri, DEK) for provider, uri in zip(providers, uris, strict=True)]
    assert [one.unwrap(them) for one, them in zip(providers, wrapped, strict=True)] == [DEK] * 8
    for turn in range(3):
        with module.exclusive() as library:
            library.reinitialize()
        order = list(zip(providers, wrapped, strict=True))[:: -1 if turn % 2 else 1]
        for provider, them in order[turn:] + order[:turn]:
            again = provider.wrap(them.kek_uri, DEK)
            assert provider.unwrap(them) == DEK
            assert provider.unwrap(again) == DEK
            # A child starts the module again, and has no numbers to mistake.
            assert in_fork(lambda provider=provider, again=again: provider.unwrap(again) == DEK)
    for provider in providers:
        provider.close()


def test_a_token_that_is_away_is_unavailable_and_comes_back(
    softhsm: SoftHsm, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.providers.pkcs11.module.RESTART_PAUSE", 0.0)
    uri = softhsm.uri("away", "kek")
    provider = Pkcs11KeyProvider(softhsm.module, pin=lambda label: PIN, profile="softhsm", make_keys=True)
    provider.ensure(uri)
    wrapped = provider.wrap(uri, DEK)
    softhsm.hide("away")
    try:
        for use in (lambda: provider.unwrap(wrapped), lambda: provider.wrap(uri, DEK)):
            with pytest.raises(KeyUnavailable, match="away") as caught:
                use()
            assert type(caught.value) is KeyUnavailable
    finally:
        softhsm.show("away")
    assert provider.unwrap(wrapped) == DEK
    provider.close()


def test_a_module_is_not_started_again_and_again_for_a_token_that_stays_away(
    softhsm: SoftHsm, module: Module
) -> None:
    provider = Pkcs11KeyProvider(softhsm.module, pin=lambda label: PIN)
    for _ in range(5):
        with pytest.raises(KeyUnavailable, match="nowhere"):
            provider.newest_version("pkcs11:token=nowhere;object=kek")
    before = module.generation
    with pytest.raises(KeyUnavailable):
        provider.newest_version("pkcs11:token=nowhere;object=kek")
    assert module.generation == before


def test_a_token_is_found_by_all_that_a_uri_says_of_it(soft: TokenPlace) -> None:
    more = "manufacturer=SoftHSM%20project;model=SoftHSM%20v2"
    assert soft.provider.newest_version(f"{soft.kek_uri};{more}") == soft.provider.newest_version(
        soft.kek_uri
    )
    with pytest.raises(KeyUnavailable):
        soft.provider.newest_version(f"{soft.kek_uri};model=Luna")


def test_an_absent_token_does_not_end_the_sessions_of_others(soft: TokenPlace, module: Module) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    before, counted = module.generation, Counted()
    with counted.watching(module.path):
        with pytest.raises(KeyUnavailable, match="nowhere"):
            soft.provider.newest_version("pkcs11:token=nowhere;object=kek")
        assert soft.provider.unwrap(wrapped) == DEK
    assert module.generation == before and counted.logins == 0
    # When no other token answers, there is nobody to disturb.
    module._last_restart = float("-inf")
    with (
        instead_of(module.path, C_GenerateRandom=lambda real, *arguments: 0x30),
        pytest.raises(KeyUnavailable),
    ):
        soft.provider.newest_version("pkcs11:token=nowhere;object=kek")
    assert module.generation == before + 1
    assert soft.provider.unwrap(wrapped) == DEK


@pytest.mark.parametrize("same_serial", [False, True])
def test_two_tokens_of_one_label_have_to_be_told_apart(
    softhsm: SoftHsm, module: Module, same_serial: bool
) -> None:
    def twin(real: Callable[..., int], slot: int, info: int) -> int:
        answer = real(slot, info)
        if same_serial:
            ctypes.memmove(info + SERIAL_NUMBER, b"4711".ljust(16), 16)
        return answer

    provider = Pkcs11KeyProvider(softhsm.module, pin=lambda label: PIN, profile="softhsm", make_keys=True)
    with instead_of(softhsm.module, C_GetTokenInfo=twin):
        with pytest.raises(ConfigurationError, match=r"serial=.*slot-id="):
            provider.ensure(softhsm.uri("twin", "kek"))
        with module.exclusive() as library:
            twins = [token for token in library.get_tokens() if token.label == "twin"]
        told_apart = [
            f"slot-id={token.slot.slot_id}" if same_serial else f"serial={token.serial.decode()}"
            for token in twins
        ]
        _are_two_tokens(provider, [f"pkcs11:token=twin;{one};object=kek" for one in told_apart])
        provider.close()


def _are_two_tokens(provider: Pkcs11KeyProvider, uris: list[str]) -> None:
    for uri in uris:
        provider.ensure(uri)
        assert provider.unwrap(provider.wrap(uri, DEK)) == DEK
    assert len({provider.newest_version(uri) for uri in uris}) == 2


@pytest.mark.parametrize("path", ["/nowhere/module.so", __file__])
def test_a_module_that_is_none_is_named(path: str) -> None:
    with pytest.raises(ConfigurationError, match=path.rpartition("/")[2]):
        Pkcs11KeyProvider(path, pin="env:CMK_TEST_PIN").newest_version("pkcs11:token=a;object=b")


def test_a_call_that_hangs_does_not_hold_up_the_others_for_ever(
    soft: TokenPlace, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    inside, go_on = Event(), Event()

    def hang(real: Callable[..., int], *arguments: int) -> int:
        inside.set()
        go_on.wait(60)
        return real(*arguments)

    with ThreadPoolExecutor(1) as pool, instead_of(module.path, C_UnwrapKey=hang):
        hanging = pool.submit(soft.provider.unwrap, wrapped)
        assert inside.wait(60)
        monkeypatch.setattr("sqlalchemy_cmk.providers.pkcs11.module.CALL_PATIENCE", 0.1)
        try:
            with pytest.raises(KeyUnavailable, match="does not answer"):
                soft.provider.unwrap(wrapped)
            soft.new_provider().close()
        finally:
            go_on.set()
        assert hanging.result(60) == DEK
    assert soft.provider.unwrap(wrapped) == DEK


def test_a_fork_waits_for_the_call_that_is_under_way(soft: TokenPlace, module: Module) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    inside, order = Event(), []

    def dawdle(real: Callable[..., int], *arguments: int) -> int:
        inside.set()
        time.sleep(0.3)
        order.append("done")
        return real(*arguments)

    with ThreadPoolExecutor(1) as pool, instead_of(module.path, C_UnwrapKey=dawdle):
        under_way = pool.submit(soft.provider.unwrap, wrapped)
        assert inside.wait(60)
        assert in_fork(lambda: order == ["done"])
        assert under_way.result(60) == DEK
    assert soft.provider.unwrap(wrapped) == DEK


def test_every_fork_starts_the_module_once(soft: TokenPlace, module: Module) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    assert soft.provider.unwrap(wrapped) == DEK
    starts: list[int] = []

    def start(real: Callable[..., int], *arguments: int) -> int:
        starts.append(1)
        return real(*arguments)

    def use() -> bool:
        right = all(soft.provider.unwrap(wrapped) == DEK for _ in range(3))
        return right and len(starts) == 1 and in_fork(lambda: soft.provider.unwrap(wrapped) == DEK)

    with instead_of(module.path, C_Initialize=start):
        assert in_fork(use)
        assert soft.provider.unwrap(wrapped) == DEK and starts == []


def test_a_module_that_outlives_no_fork_is_ended_before_it(
    soft: TokenPlace, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ends_before_fork", True)
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    ended: list[int] = []

    def end(real: Callable[..., int], nothing: int) -> int:
        ended.append(os.getpid())
        return real(nothing)

    with instead_of(module.path, C_Finalize=end):
        # The child has nothing to end.
        assert in_fork(lambda: soft.provider.unwrap(wrapped) == DEK and os.getpid() not in ended)
        assert soft.provider.unwrap(wrapped) == DEK
    assert ended == [os.getpid()]
