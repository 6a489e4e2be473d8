"""PINs: where they may come from, and that a wrong one is tried once."""

import ctypes
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from pkcs11 import TokenFlag

from sqlalchemy_cmk import CmkError, ConfigurationError, CredentialError
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.tokens import refuse_risky_login
from sqlalchemy_cmk.runtime.secret import Secret
from tests.keys.processes import in_fork
from tests.support.hsm import PIN
from tests.support.hsm.boundary import Counted, instead_of
from tests.support.hsm.softhsm import SoftHsm

WRONG = "a-wrong-pin-0815"
VARIABLE = "CMK_TEST_PIN"
STATE = 8  # where it is in CK_SESSION_INFO
FLAGS = 32 + 32 + 16 + 16  # and in CK_TOKEN_INFO
DEK = Secret(bytes(range(32)))
URI = "pkcs11:token=pins;object=kek"

Make = Callable[[Any], Pkcs11KeyProvider]


@pytest.fixture(autouse=True)
def logged_out(softhsm: SoftHsm) -> Iterator[None]:
    """Nobody of this process is logged in to the token, before or after; its last login was a good one."""
    _restart(softhsm)
    softhsm.owner("pins", "count", "")
    yield
    _restart(softhsm)


@pytest.fixture
def make(softhsm: SoftHsm) -> Iterator[Make]:
    made: list[Pkcs11KeyProvider] = []

    def provider(pin: Any) -> Pkcs11KeyProvider:
        made.append(Pkcs11KeyProvider(softhsm.module, pin=pin, profile="softhsm", make_keys=True))
        return made[-1]

    yield provider
    for one in made:
        one.close()


def _restart(softhsm: SoftHsm) -> None:
    module = module_at(softhsm.module)
    with module.exclusive() as library:
        library.reinitialize()
    module._last_restart = float("-inf")
    module.refused.clear()


def failure(call: Callable[[], object]) -> str:
    """Everything that a log could hold of the error that a call raises."""
    with pytest.raises(CmkError) as caught:
        call()
    return "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))


def test_a_pin_comes_from_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PIN)
    provider = make(f"env:{VARIABLE}")
    provider.ensure(URI)
    assert provider.unwrap(provider.wrap(URI, DEK)) == DEK


def test_a_pin_comes_from_a_private_file(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text(PIN + "\n")
    provider = make(f"file:{path}")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"chmod 600 .*change the PIN"):
        provider.ensure(URI)
    path.chmod(0o600)
    provider.ensure(URI)
    assert provider.unwrap(provider.wrap(URI, DEK)) == DEK


def test_a_pin_comes_from_a_callable_that_is_told_the_token(make: Make) -> None:
    asked: list[str] = []
    provider = make(lambda label: asked.append(label) or PIN)
    provider.ensure(URI)
    assert provider.unwrap(provider.wrap(URI, DEK)) == DEK and asked == ["pins"]


@pytest.mark.parametrize("pin", [PIN, "env:", "file:", "", b"1234", 1234, f"pin:{PIN}"])
def test_a_pin_itself_is_refused_and_not_shown(make: Make, pin: object) -> None:
    assert PIN not in failure(lambda: make(pin))


@pytest.mark.parametrize(
    "pin",
    [f"env:{VARIABLE}", "file:/nowhere/pin", lambda label: "", lambda label: None, lambda label: 1 / 0],
    ids=["no variable", "no file", "empty", "none", "fails"],
)
def test_a_pin_that_is_not_there_is_the_applications_fault(make: Make, pin: Any) -> None:
    with pytest.raises(CredentialError, match="pins"):
        make(pin).newest_version(URI)


def test_a_token_that_asks_for_a_login_needs_a_pin(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="pin="):
        make(None).newest_version(URI)


def test_a_failing_callable_does_not_show_the_pin(make: Make) -> None:
    def fail(label: str) -> str:
        raise RuntimeError(f"the answer was {WRONG}")

    assert WRONG not in failure(lambda: make(fail).newest_version(URI))


def test_a_wrong_pin_is_tried_once_by_all_callers_and_never_shown(make: Make, softhsm: SoftHsm) -> None:
    first, second = make(lambda label: WRONG), make(lambda label: WRONG)
    barrier = Barrier(16)

    def ask(number: int) -> str:
        barrier.wait(60)
        with pytest.raises(CredentialError) as caught:
            (first, second)[number % 2].newest_version(URI)
        return "".join(traceback.format_exception(caught.value))

    counted = Counted()
    with counted.watching(softhsm.module):
        with ThreadPoolExecutor(16) as pool:
            said = list(pool.map(ask, range(16)))
        assert in_fork(lambda: "not tried again" in failure(lambda: first.newest_version(URI)))
    assert counted.logins == 1 and not any(WRONG in one for one in said)


def test_a_mended_pin_is_tried(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = make(f"env:{VARIABLE}")
    monkeypatch.setenv(VARIABLE, WRONG)
    for _ in range(2):
        with pytest.raises(CredentialError):
            provider.ensure(URI)
    monkeypatch.setenv(VARIABLE, PIN)
    provider.ensure(URI)
    assert provider.unwrap(provider.wrap(URI, DEK)) == DEK


def test_doctor_warns_of_wrong_pins_and_of_a_login_that_fails(make: Make, softhsm: SoftHsm) -> None:
    good = make(lambda label: PIN)
    good.ensure(URI)
    assert {finding.level for finding in good.health_checks(URI)} == {Level.OK}
    softhsm.owner("pins", "mistype", "")
    (warning,) = [one for one in good.health_checks(URI) if one.level is not Level.OK]
    assert warning.level is Level.WARNING and "wrong PIN" in warning.what
    _restart(softhsm)
    (problem,) = make(lambda label: WRONG).health_checks(URI)
    assert problem.level is Level.PROBLEM and "not tried again" in problem.what


def test_doctor_knows_of_the_wrong_pins_that_its_own_login_forgave(make: Make, softhsm: SoftHsm) -> None:
    first = make(lambda label: PIN)
    first.ensure(URI)
    wrapped = first.wrap(URI, DEK)
    first.close()
    softhsm.owner("pins", "mistype", "")
    second = make(lambda label: PIN)
    assert second.unwrap(wrapped) == DEK  # which logs in, and the token forgets
    assert [one.what for one in second.health_checks(URI) if one.level is not Level.OK] == [
        "a wrong PIN was tried since the last good login"
    ]
    second.close()
    third = make(lambda label: PIN)
    assert {finding.level for finding in third.health_checks(URI)} == {Level.OK}


def test_500_failed_logins_leave_no_session_open(make: Make, softhsm: SoftHsm) -> None:
    pins = (f"{WRONG}-{number}" for number in range(500))
    provider, counted = make(lambda label: next(pins)), Counted()
    # Most are refused at the boundary: the token takes its time over each PIN.
    refuse = iter(range(500))

    def log_in(real: Callable[..., int], *arguments: int) -> int:
        return 0xA0 if next(refuse) % 100 else real(*arguments)

    with counted.watching(softhsm.module), instead_of(softhsm.module, C_Login=log_in):
        for _ in range(500):
            with pytest.raises(CredentialError, match="PinIncorrect"):
                provider.newest_version(URI)
        assert counted.sessions == set()


def test_a_login_of_other_code_in_the_process_is_used(make: Make, softhsm: SoftHsm) -> None:
    make(lambda label: PIN).ensure(URI)

    def nobody(real: Callable[..., int], session: int, info: int) -> int:
        answer = real(session, info)
        ctypes.c_ulong.from_address(info + STATE).value = 0
        return answer

    # The token says that nobody is logged in, and then that somebody is.
    with instead_of(softhsm.module, C_GetSessionInfo=nobody):
        fresh = make(lambda label: PIN)
        assert fresh.unwrap(fresh.wrap(URI, DEK)) == DEK


@pytest.mark.parametrize("logged_in", [True, False])
def test_a_module_that_knows_no_session_info_has_the_token_asked(
    make: Make, softhsm: SoftHsm, logged_in: bool
) -> None:
    if logged_in:
        make(lambda label: PIN).ensure(URI)
    counted = Counted()
    with (
        instead_of(softhsm.module, C_GetSessionInfo=lambda real, *arguments: 0x54),
        counted.watching(softhsm.module),
    ):
        assert make(lambda label: PIN).newest_version(URI)
        assert counted.logins == (not logged_in) and counted.objects == 0


def test_a_login_is_known_where_neither_module_nor_token_tells(
    make: Make, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(lambda label: PIN).ensure(URI)
    _restart(softhsm)
    module = module_at(softhsm.module)
    with module.exclusive():  # as with a TPM behind p11-kit
        monkeypatch.setattr(module, "_cryptoki", None)
    refuse = {"C_GenerateKey": lambda real, *arguments: 0x54, "C_CreateObject": lambda real, *arguments: 0xB5}
    counted = Counted()
    with instead_of(softhsm.module, **refuse):
        provider = make(lambda label: PIN)
        assert provider.newest_version(URI) == make(lambda label: PIN).newest_version(URI)
        with counted.watching(softhsm.module):
            assert provider.newest_version(URI) and counted.logins == 0


def test_a_pin_may_be_entered_at_the_token_itself(make: Make, softhsm: SoftHsm) -> None:
    entered: list[int] = []

    def keypad(real: Callable[..., int], slot: int, info: int) -> int:
        answer = real(slot, info)
        ctypes.c_ulong.from_address(info + FLAGS).value |= TokenFlag.PROTECTED_AUTHENTICATION_PATH
        return answer

    def enter(real: Callable[..., int], session: int, user: int, pin: int, length: int) -> int:
        entered.append(pin)
        typed = ctypes.create_string_buffer(PIN.encode() if len(entered) > 1 else WRONG.encode())
        return real(session, user, ctypes.addressof(typed), len(typed.value))

    with instead_of(softhsm.module, C_GetTokenInfo=keypad, C_Login=enter):
        provider = make(None)
        for _ in range(2):  # a person mistypes; nobody is asked again and again
            with pytest.raises(CredentialError, match=r"keypad|restart the application"):
                provider.ensure(URI)
        module_at(softhsm.module).refused.clear()
        provider.ensure(URI)
        assert provider.unwrap(provider.wrap(URI, DEK)) == DEK
    assert entered == [0, 0]


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_the_last_try_is_left_to_a_person(flag: TokenFlag) -> None:
    refuse_risky_login("acme", TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_COUNT_LOW)
    with pytest.raises(CredentialError, match="acme"):
        refuse_risky_login("acme", TokenFlag.TOKEN_INITIALIZED | flag)


def test_no_pin_is_shown_by_a_provider(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PIN)
    provider = make(f"env:{VARIABLE}")
    provider.ensure(URI)
    assert PIN not in repr(provider) + str(vars(provider)) and os.environ[VARIABLE] == PIN
