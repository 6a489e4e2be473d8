"""A crash reporter sends the locals of every frame: none shows a DEK, a KEK or a PIN, wherever work fails."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pkcs11.exceptions import ArgumentsBad, SessionHandleInvalid

from sqlalchemy_cmk import CmkError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider, Pkcs11KeyProvider, Secret
from sqlalchemy_cmk.providers.pkcs11.profiles import PROFILES
from tests.faults.watching import found
from tests.support.crash_reports import Failures, crash_report
from tests.support.databases import Database
from tests.support.hsm import PIN
from tests.support.hsm.softhsm import SoftHsm
from tests.support.world import World

SECRETS = dict[str, str | bytes]
DEK = bytes(range(100, 132))


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    world = World(sqlite_database.url, tmp_path).create()
    world.write("acme", "one")
    world.write("acme", "one", table=world.codes)
    yield world
    world.close()


def keks_in(path: Path) -> SECRETS:
    keks = json.loads(path.read_text())["keks"]
    keys = [version["key"] for kek in keks.values() for version in kek["versions"]]
    return {f"KEK {number}": base64.b64decode(key) for number, key in enumerate(keys)}


def secrets_of(world: World) -> SECRETS:
    deks = {f"DEK {number}": dek for number, dek in enumerate(world.provider.deks)}
    assert deks
    return {**deks, **keks_in(world.provider.path)}


def to_another_kek(world: World) -> None:
    ((now,),) = world.raw("SELECT kek_uri FROM cmk_tenants WHERE tenant = 'acme'")
    world.keyring.assign("acme", "local:two" if now == "local:one" else "local:one")


def another_wrapping(world: World) -> None:
    ((count,),) = world.raw(
        "SELECT count(*) FROM cmk_wrappings w JOIN cmk_deks d ON w.dek_id = d.id"
        " WHERE d.tenant = 'acme' AND w.kek_uri = 'local:second'"
    )
    change = world.keyring.lifecycle.drop_wrapping if count else world.keyring.lifecycle.add_wrapping
    change("acme", "local:second")


def rewrapped(world: World) -> None:
    world.provider.rotate("local:pmk")
    world.keyring.lifecycle.rewrap()


def new_tenant(world: World) -> None:
    world.write(os.urandom(4).hex(), "two")


WORK: dict[str, Callable[[World], object]] = {
    "read": lambda world: world.read("acme"),
    "look for": lambda world: world.read("acme", table=world.codes),
    "write for a new tenant": new_tenant,
    "assign": to_another_kek,
    "rotate the DEK": lambda world: world.keyring.lifecycle.rotate_dek("acme"),
    "add and drop a wrapping": another_wrapping,
    "rewrap": rewrapped,
}


@pytest.mark.parametrize("name", WORK)
def test_a_keyring_that_fails_anywhere_shows_no_key(world: World, name: str) -> None:
    def work() -> None:
        world.keyring.forget()
        WORK[name](world)

    places, shown = 0, {}
    for place, error in Failures().each(work):
        places += 1
        if leaked := found(secrets_of(world), crash_report(error)):
            shown[place] = leaked
    assert places > 30 and shown == {}


def one_use_after_another(provider: KeyProvider, kek_uri: str) -> Callable[[], None]:
    wrapped = provider.wrap(kek_uri, Secret(DEK))

    def work() -> None:
        provider.close()
        provider.check(kek_uri)
        provider.wrap(kek_uri, Secret(DEK))
        assert provider.unwrap(wrapped) == Secret(DEK)
        provider.newest_version(kek_uri)

    return work


def test_a_key_file_that_fails_anywhere_shows_no_key(tmp_path: Path) -> None:
    provider = LocalKeyProvider(tmp_path / "keys.json")
    provider.ensure("local:pmk")
    use = one_use_after_another(provider, "local:pmk")

    def work() -> None:
        use()
        provider.rotate("local:pmk")
        provider.disable("local:pmk")
        provider.enable("local:pmk")

    shown = {}
    for place, error in Failures().each(work):
        provider.enable("local:pmk")
        if leaked := found({"DEK": DEK, **keks_in(tmp_path / "keys.json")}, crash_report(error)):
            shown[place] = leaked
    assert shown == {}


def damaged(content: str) -> Iterator[str]:
    """A key file's text, damaged so that its parser refuses it in different places."""
    yield content[:-2]
    yield content.replace('"key"', '"kei"')
    yield content.replace('"id"', '"key"')
    yield content.replace('"key": "', '"key": "*')
    yield content.replace('"key": "', '"key": "AAAA')
    yield content.replace('"format": 1', '"format": 2')


@pytest.mark.parametrize("kept", ["file", "environment"])
def test_a_damaged_key_file_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    path = tmp_path / "keys.json"
    provider = LocalKeyProvider(path)
    provider.ensure("local:pmk")
    wrapped = provider.wrap("local:pmk", Secret(DEK))
    secrets: SECRETS = {"DEK": DEK, **keks_in(path)}
    if kept == "environment":
        provider = LocalKeyProvider.from_environment("CMK_TEST_KEYS")
    for content in damaged(path.read_text()):
        assert content != path.read_text() or kept == "environment"
        if kept == "file":
            path.write_text(content)
        monkeypatch.setenv("CMK_TEST_KEYS", content)
        with pytest.raises(CmkError) as caught:
            provider.unwrap(wrapped)
        assert found(secrets, crash_report(caught.value)) == []
    path.unlink()
    monkeypatch.delenv("CMK_TEST_KEYS")
    for use in (lambda: provider.wrap("local:pmk", Secret(DEK)), lambda: provider.unwrap(wrapped)):
        with pytest.raises(CmkError) as caught:
            use()
        assert found(secrets, crash_report(caught.value)) == []


def test_a_damaged_wrapping_shows_no_key(tmp_path: Path) -> None:
    provider = LocalKeyProvider(tmp_path / "keys.json")
    provider.ensure("local:pmk")
    wrapped = provider.wrap("local:pmk", Secret(DEK))
    for data in (wrapped.data[:-1], bytes(40), b"", bytes([wrapped.data[0] ^ 1]) + wrapped.data[1:]):
        with pytest.raises(CmkError) as caught:
            provider.unwrap(replace(wrapped, data=data))
        # The library's frames held the KEK: they are no part of the error.
        assert caught.value.__context__ is None
        assert found({"DEK": DEK, **keks_in(tmp_path / "keys.json")}, crash_report(caught.value)) == []


def test_an_unproven_wrapping_shows_neither_key(sqlite_database: Database, tmp_path: Path) -> None:
    world = World(sqlite_database.url, tmp_path)
    world.provider.unwrap = lambda wrapped: Secret(b"\x07" * 32)  # type: ignore[method-assign]
    world.create()
    with pytest.raises(TamperedError, match="does not unwrap what it wrapped") as caught:
        world.write("acme", "one")
    assert found({**secrets_of(world), "answer": b"\x07" * 32}, crash_report(caught.value)) == []
    world.close()


@pytest.mark.parametrize(
    "error", [KeyUnavailable, ArgumentsBad, SessionHandleInvalid], ids=lambda one: one.__name__
)
@pytest.mark.parametrize(
    ("algorithm", "make"),
    [("AES-KW", ("make-aes", "wrap")), ("AES-GCM", ("make-aes", "cipher")), ("RSA-OAEP", ("make-rsa",))],
    ids=["AES-KW", "AES-GCM", "RSA-OAEP"],
)
def test_a_token_that_fails_anywhere_shows_no_key_and_no_pin(
    softhsm: SoftHsm, algorithm: str, make: tuple[str, ...], error: Callable[[str], Exception]
) -> None:
    name = f"crash-{os.urandom(4).hex()}"
    softhsm.owner("acme", make[0], name, "01", *make[1:])
    provider = Pkcs11KeyProvider(
        softhsm.module, pin=lambda label: PIN, profile=replace(PROFILES["softhsm"], prefer=(algorithm,))
    )
    module = provider._sessions._module
    use, shown, places = one_use_after_another(provider, softhsm.uri("acme", name)), {}, 0

    def work() -> None:
        # A PIN whose answer was lost counts as refused; this one is right.
        module.refused.clear()
        use()

    for place, failure in Failures(("/sqlalchemy_cmk/providers/", "/pkcs11/types.py"), error).each(work):
        places += 1
        if leaked := found({"DEK": DEK, "PIN": PIN}, crash_report(failure)):
            shown[place] = leaked
    module.refused.clear()
    provider.close()
    assert places > 50 and shown == {}


@pytest.mark.parametrize("pin", ["env", "file", "callable", "no text", "not text"])
def test_a_refused_pin_is_not_shown(
    softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: str
) -> None:
    wrong = "a-wrong-pin-0815"
    monkeypatch.setenv("CMK_TEST_PIN", wrong)
    (tmp_path / "pin").write_text(wrong)
    (tmp_path / "pin").chmod(0o600)

    def fails(label: str) -> str:
        raise ValueError(f"cannot parse {wrong}")

    sources: dict[str, Any] = {
        "env": "env:CMK_TEST_PIN",
        "file": f"file:{tmp_path / 'pin'}",
        "callable": fails,
        "no text": lambda label: wrong.encode(),
        "not text": lambda label: wrong + "\udcff",
    }
    provider = Pkcs11KeyProvider(softhsm.module, pin=sources[pin], profile="softhsm")
    with pytest.raises(CmkError) as caught:
        provider.wrap(softhsm.uri("pins", "kek"), Secret(DEK))
    assert found({"DEK": DEK, "PIN": wrong}, crash_report(caught.value)) == []
    provider.close()
