"""What a token refuses: once, for as long as it fails, or for good; and what is left open then."""

from collections.abc import Callable

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers.pkcs11.module import Module, module_at
from sqlalchemy_cmk.runtime.secret import Secret
from tests.providers.token_places import TokenPlace
from tests.support.hsm.boundary import Counted, instead_of
from tests.support.hsm.softhsm import SoftHsm

# python-pkcs11 tries to end a search that could not begin, and complains when that fails too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DEK = Secret(bytes(range(32)))
READ_WRITE = 2  # CKF_RW_SESSION


@pytest.fixture(autouse=True)
def module(softhsm: SoftHsm) -> Module:
    module = module_at(softhsm.module)
    module._last_restart = float("-inf")
    return module


def answering(codes: list[int]) -> Callable[..., int]:
    """A function that answers these codes, one after another, and then what the real one answers; 0 too."""
    left = list(codes)

    def answer(real: Callable[..., int], *arguments: int) -> int:
        code = left.pop(0) if left else 0
        return code or real(*arguments)

    return answer


LOST = {
    "session closed": 0xB0,
    "session handle": 0xB3,
    "device removed": 0x32,
    "not initialized": 0x190,
    "device error": 0x30,
    "general error": 0x05,
}


@pytest.mark.parametrize("code", LOST.values(), ids=LOST)
def test_an_unwrap_that_loses_its_session_is_done_on_another(
    soft: TokenPlace, module: Module, code: int
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    assert soft.provider.unwrap(wrapped) == DEK
    answers, counted = [code], Counted()

    def fail(real: Callable[..., int], *arguments: int) -> int:
        return answers.pop() if answers else real(*arguments)

    for provider in soft.made:
        provider.close()
    with counted.watching(module.path):
        assert soft.provider.unwrap(wrapped) == DEK
        with instead_of(module.path, C_UnwrapKey=fail):
            assert soft.provider.unwrap(wrapped) == DEK
        assert answers == [] and soft.provider.unwrap(wrapped) == DEK
        # What is said to be gone is not closed.
        gone = code in (0xB0, 0xB3, 0x32, 0x190)
        assert len(counted.sessions) == 1 + gone


REFUSED = {"device removed": 0x32, "general error": 0x05, "out of memory": 0x31, "vendor": 0x80000001}


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_a_token_that_refuses_everything_is_unavailable_and_nothing_else(
    soft: TokenPlace, module: Module, code: int
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    with instead_of(module.path, C_UnwrapKey=lambda real, *arguments: code), pytest.raises(KeyUnavailable):
        soft.provider.unwrap(wrapped)
    with instead_of(module.path, C_OpenSession=lambda real, *arguments: code), pytest.raises(KeyUnavailable):
        soft.provider.wrap(soft.kek_uri, DEK)
    with (
        instead_of(module.path, C_FindObjectsInit=lambda real, *arguments: code),
        pytest.raises(KeyUnavailable),
    ):
        soft.provider.wrap(soft.kek_uri, DEK)
    assert soft.provider.unwrap(wrapped) == DEK


def test_a_key_that_may_not_be_used_any_more_is_revoked(soft: TokenPlace, module: Module) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    with instead_of(module.path, C_UnwrapKey=lambda real, *arguments: 0x68), pytest.raises(KeyRevoked):
        soft.provider.unwrap(wrapped)


TRANSIENT = {"general error": 0x05, "function failed": 0x06, "operation active": 0x90}


@pytest.mark.parametrize("code", TRANSIENT.values(), ids=TRANSIENT)
def test_an_unwrap_that_fails_while_the_key_opens_a_probe_is_tried_once_more(
    soft: TokenPlace, module: Module, code: int
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    assert soft.provider.unwrap(wrapped) == DEK
    kept, new, probe = code, code, 0
    with instead_of(module.path, C_UnwrapKey=answering([kept, new, probe])):
        assert soft.provider.unwrap(wrapped) == DEK
    with instead_of(module.path, C_UnwrapKey=answering([new, probe])):
        assert soft.new_provider().unwrap(wrapped) == DEK


@pytest.mark.parametrize("code", TRANSIENT.values(), ids=TRANSIENT)
def test_a_token_that_fails_again_and_again_is_unavailable_and_nothing_was_tampered_with(
    soft: TokenPlace, module: Module, code: int
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    new, probe, again, second_probe = code, 0, code, code
    with (
        instead_of(module.path, C_UnwrapKey=answering([new, probe, again, second_probe])),
        pytest.raises(KeyUnavailable),
    ):
        soft.new_provider().unwrap(wrapped)


def test_what_is_refused_twice_between_two_good_probes_was_tampered_with(
    soft: TokenPlace, module: Module
) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    with (
        instead_of(module.path, C_UnwrapKey=answering([0x05, 0, 0x05, 0])),
        pytest.raises(TamperedError, match="GeneralError twice"),
    ):
        soft.new_provider().unwrap(wrapped)


PERMANENT = {"mechanism": 0x70, "function not supported": 0x54, "template": 0xD1, "key size": 0x62}


@pytest.mark.parametrize("code", PERMANENT.values(), ids=PERMANENT)
def test_what_a_token_never_does_is_not_an_outage(soft: TokenPlace, module: Module, code: int) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    with (
        instead_of(module.path, C_UnwrapKey=lambda real, *arguments: code),
        pytest.raises(ConfigurationError, match=soft.name),
    ):
        soft.new_provider().unwrap(wrapped)


def test_100_failed_calls_leave_one_session_open(soft: TokenPlace, module: Module) -> None:
    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    soft.close()
    provider, counted = soft.new_provider(), Counted()
    with counted.watching(module.path):
        for code in (0x05, 0x30, 0x70, 0x90):
            with instead_of(module.path, C_FindObjectsInit=lambda real, *arguments, code=code: code):
                for _ in range(25):
                    with pytest.raises((KeyUnavailable, ConfigurationError)):
                        provider.unwrap(wrapped)
        assert provider.unwrap(wrapped) == DEK
        assert len(counted.sessions) == 1
    provider.close()


def test_one_session_suffices(soft: TokenPlace, module: Module) -> None:
    soft.close()
    counted = Counted()

    def one_alone(real: Callable[..., int], *arguments: int) -> int:
        return 0xB1 if counted.sessions else real(*arguments)

    with counted.watching(module.path), instead_of(module.path, C_OpenSession=one_alone):
        provider = soft.new_provider(make_keys=True)
        provider.ensure(soft.kek_uri)
        wrapped = provider.wrap(soft.kek_uri, DEK)
        assert provider.unwrap(wrapped) == DEK
        provider.rotate(soft.kek_uri)
        assert provider.unwrap(wrapped) == DEK and provider.unwrap(provider.wrap(soft.kek_uri, DEK)) == DEK
        provider.close()


def test_a_token_that_may_not_be_written_to_serves_the_keks_it_has(soft: TokenPlace, module: Module) -> None:
    soft.close()

    def read_only(real: Callable[..., int], slot: int, flags: int, *arguments: int) -> int:
        return 0xE2 if flags & READ_WRITE else real(slot, flags, *arguments)

    with instead_of(module.path, C_OpenSession=read_only):
        provider = soft.new_provider(make_keys=True)
        provider.ensure(soft.kek_uri)
        assert provider.unwrap(provider.wrap(soft.kek_uri, DEK)) == DEK
        with pytest.raises(ConfigurationError, match="TokenWriteProtected"):
            provider.ensure(f"{soft.kek_uri}-new")
