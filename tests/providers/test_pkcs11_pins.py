"""PINs: where they may come from, and that a wrong one is tried once."""

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
from sqlalchemy_cmk.providers import Level, Pkcs11KeyProvider
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.tokens import refuse_risky_login
from tests.keys.processes import in_fork
from tests.support.hsm import PIN
from tests.support.hsm.boundary import Counted
from tests.support.hsm.softhsm import SoftHsm

WRONG = "a-wrong-pin-0815"
VARIABLE = "CMK_TEST_PIN"
DEK = bytes(range(32))
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
    with module.exclusive():
        module._last_restart = float("-inf")
        module.restart()
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


def test_a_wrong_pin_is_tried_once_whoever_asks_and_never_shown(make: Make, softhsm: SoftHsm) -> None:
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
    assert {finding.level for finding in good.examine(URI)} == {Level.OK}
    softhsm.owner("pins", "mistype", "")
    (warning,) = [one for one in good.examine(URI) if one.level is not Level.OK]
    assert warning.level is Level.WARNING and "wrong PIN" in warning.what
    _restart(softhsm)
    (problem,) = make(lambda label: WRONG).examine(URI)
    assert problem.level is Level.PROBLEM and "not tried again" in problem.what


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
