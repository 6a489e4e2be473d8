"""The key file of the local provider: private, never half written, and not made again when it is missing."""

import json
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import MetaData, create_engine

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, Keyring, KeyUnavailable
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.testing.provider_contract import words_of_failure
from tests.keys.processes import begin, together
from tests.providers.key_files import DEK, secrets_of
from tests.support.databases import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def provider(path: Path) -> LocalKeyProvider:
    provider = LocalKeyProvider(path)
    provider.ensure("local:acme")
    return provider


@pytest.fixture
def keyring(sqlite_database: Database, path: Path) -> Iterator[Keyring]:
    """A keyring that has wrapped a DEK of acme by the platform's KEK."""
    engine = create_engine(sqlite_database.url)
    metadata = MetaData()
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(path)])
    keyring.protect(metadata)
    metadata.create_all(engine)
    keyring.warm(["acme"], new=True)
    keyring.forget()
    yield keyring
    keyring.close()
    engine.dispose()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_the_file_is_made_at_first_use_for_its_owner_only(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        LocalKeyProvider(path).ensure("local:acme")
    finally:
        os.umask(before)
    assert mode(path) == 0o600


@pytest.mark.parametrize("change", ["rotate", "disable", "enable"])
def test_every_change_keeps_the_file_private(path: Path, provider: LocalKeyProvider, change: str) -> None:
    getattr(provider, change)("local:acme")
    assert mode(path) == 0o600
    assert [one for one in path.parent.iterdir() if mode(one) & 0o077] == []


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_others_can_reach_is_refused_with_the_mend(
    path: Path, provider: LocalKeyProvider, open_to: int
) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    path.chmod(open_to)
    for use in (lambda: provider.unwrap(wrapped), lambda: provider.rotate("local:acme")):
        with pytest.raises(ConfigurationError, match=f"{open_to:04o}.*chmod 600 {path}"):
            use()
    path.chmod(0o600)
    assert provider.unwrap(wrapped) == DEK


def rotate_for_ever(path: Path) -> None:
    provider = LocalKeyProvider(path)
    while True:
        provider.rotate("local:acme")


def test_a_killed_rotation_never_leaves_a_broken_file(path: Path, provider: LocalKeyProvider) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    for _ in range(20):
        before = path.stat().st_ino
        rotating = begin(rotate_for_ever, path)
        end = time.monotonic() + random.uniform(0.01, 0.05)
        while path.stat().st_ino == before or time.monotonic() < end:
            assert provider.unwrap(wrapped) == DEK
        rotating.kill()
        rotating.join()
        versions = len(secrets_of(path))
        assert versions > 1 and provider.unwrap(wrapped) == DEK
        provider.rotate("local:acme")
        assert len(secrets_of(path)) == versions + 1 and mode(path) == 0o600


def ensure_and_wrap(path: Path) -> str:
    provider = LocalKeyProvider(path)
    provider.ensure("local:acme")
    return provider.wrap("local:acme", DEK).kek_version


def test_twenty_processes_that_make_a_kek_at_once_agree_on_one(path: Path) -> None:
    assert len(set(together(20, ensure_and_wrap, path))) == 1
    assert len(secrets_of(path)) == 1


def rotate_once(path: Path) -> None:
    LocalKeyProvider(path).rotate("local:acme")


def test_twenty_processes_that_rotate_at_once_lose_no_version(path: Path, provider: LocalKeyProvider) -> None:
    together(20, rotate_once, path)
    assert len(set(secrets_of(path))) == 21


def test_a_fork_in_the_middle_of_a_change_does_not_keep_the_lock(provider: LocalKeyProvider) -> None:
    rotated: list[int] = []

    def rotate() -> None:
        while len(rotated) < 100_000:
            provider.rotate("local:acme")
            rotated.append(1)

    def wait_for_rotations() -> bool:
        goal, end = len(rotated) + 3, time.monotonic() + 120
        while len(rotated) < goal and time.monotonic() < end:
            time.sleep(0.001)
        return len(rotated) >= goal

    thread, children = Thread(target=rotate, daemon=True), []
    thread.start()
    try:
        for _ in range(10):
            assert wait_for_rotations()
            child = os.fork()
            if child == 0:
                time.sleep(120)
                os._exit(0)
            children.append(child)
        assert wait_for_rotations()
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
        rotated.extend([1] * 100_000)
        thread.join(20)


def good_kek(**changes: object) -> dict[str, object]:
    key = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
    return {"format": 1, "keks": {"acme": {"versions": [{"id": "1", "key": key, **changes}]}}}


BROKEN = {
    "empty": b"",
    "no JSON": b"-----BEGIN PRIVATE KEY-----",
    "half a file": json.dumps(good_kek()).encode()[:-20],
    "another document": b"[1, 2, 3]",
    "another format": json.dumps({**good_kek(), "format": 2}).encode(),
    "bytes that are not text": json.dumps(good_kek()).encode().replace(b"YWFh", b"\xff\xfe\xfd\xfc"),
    "no base64": json.dumps(good_kek(key="YWFh YWFh!")).encode(),
    "a key of 16 bytes": json.dumps(good_kek(key="YWFhYWFhYWFhYWFhYWFhYQ==")).encode(),
    "a key of 33 bytes": json.dumps(good_kek(key="YWFh" * 11)).encode(),
    "no key": json.dumps(good_kek(key=None)).encode(),
}


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def test_a_file_written_by_hand_is_read(path: Path) -> None:
    write(path, json.dumps(good_kek()).encode())
    provider = LocalKeyProvider(path)
    assert provider.unwrap(provider.wrap("local:acme", DEK)) == DEK


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_named_kept_and_not_quoted(path: Path, content: bytes) -> None:
    write(path, content)
    provider = LocalKeyProvider(path)
    for use in (lambda: provider.wrap("local:acme", DEK), lambda: provider.ensure("local:acme")):
        with pytest.raises(ConfigurationError, match=f"{path} is not a key file.*backup"):
            use()
        assert "YWFh" not in words_of_failure(use)
    assert path.read_bytes() == content


def test_a_directory_in_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir()
    provider = LocalKeyProvider(path)
    for use in (lambda: provider.wrap("local:acme", DEK), lambda: provider.ensure("local:acme")):
        with pytest.raises(KeyUnavailable, match=f"{path} cannot be read: Is a directory"):
            use()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not mounted" / "keys.json"
    with pytest.raises(KeyUnavailable, match=f"{path}.*No such file"):
        LocalKeyProvider(path).ensure("local:acme")
    assert not path.parent.exists()


def test_a_kek_that_was_taken_out_of_the_file_is_revoked(path: Path, provider: LocalKeyProvider) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    write(path, b'{"format": 1, "keks": {}}')
    with pytest.raises(KeyRevoked, match="local:acme"):
        provider.unwrap(wrapped)


def test_a_missing_file_is_unavailable_and_not_made_by_use(path: Path, provider: LocalKeyProvider) -> None:
    wrapped = provider.wrap("local:acme", DEK)
    away = path.rename(path.with_name("away.json"))
    for use in (lambda: provider.unwrap(wrapped), lambda: provider.wrap("local:acme", DEK)):
        with pytest.raises(KeyUnavailable, match=f"{path} does not exist.*backup"):
            use()
    assert not path.exists()
    away.rename(path)
    assert provider.unwrap(wrapped) == DEK


@pytest.mark.parametrize(
    "use",
    [
        lambda keyring: keyring.warm(["acme"], new=True),
        lambda keyring: keyring.warm(["globex"], new=True),
        lambda keyring: keyring.assign("globex", "local:pmk"),
        lambda keyring: keyring.assign("globex", "local:globex"),
        lambda keyring: keyring.assign("acme", "local:acme"),
    ],
    ids=["open a DEK", "make a DEK", "assign the same KEK", "assign a new KEK", "move to a new KEK"],
)
def test_a_missing_file_is_not_made_anew_once_something_was_wrapped(
    keyring: Keyring, path: Path, use: Callable[[Keyring], None]
) -> None:
    away = path.rename(path.with_name("away.json"))
    with pytest.raises(KeyUnavailable, match=f"{path} does not exist"):
        use(keyring)
    assert not path.exists()
    away.rename(path)
    use(keyring)
    keyring.warm(["acme", "globex"], new=True)
