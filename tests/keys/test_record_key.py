"""The record key: where it is kept, how it is made, rotated and adopted, and what is refused without it."""

import os
import stat
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from tests.support.world import World

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


def text(*keys: bytes) -> str:
    return "\n".join(b64encode(one).decode() for one in keys)


def file_of(world: World) -> Path:
    return world.folder / "keys.json.record-key"


def of_world(world: World) -> str:
    """The id of the key that authenticates a tenant's keys now."""
    ((key_id,),) = set(world.raw("SELECT record_key FROM cmk_tenants"))
    return str(key_id)


def test_a_new_installation_makes_one_beside_its_key_file(world: World) -> None:
    assert not file_of(world).exists()
    world.write("acme", "one")
    assert stat.S_IMODE(file_of(world).stat().st_mode) == 0o600
    assert of_world(world) == RecordKeys(f"file:{file_of(world)}").current().id
    world.restart()
    assert world.read() == ["one"]


def test_a_record_key_file_that_is_gone_is_never_made_anew(world: World) -> None:
    world.write("acme", "one")
    kept = file_of(world).read_bytes()
    file_of(world).unlink()
    for act in (lambda: world.read("acme"), lambda: world.write("new", "two")):
        world.restart()
        with pytest.raises(KeyUnavailable, match=r"record key file .* does not exist: mount it"):
            act()
    assert not file_of(world).exists()
    file_of(world).write_bytes(kept)
    file_of(world).chmod(0o600)
    world.restart()
    assert world.read("acme") == ["one"]


def test_another_record_key_opens_nothing(world: World) -> None:
    world.write("acme", "one")
    world.restart(record_key=lambda: OTHER)
    with pytest.raises(TamperedError, match="a record key that record_key= does not hold"):
        world.read("acme")


@pytest.mark.parametrize(
    "given",
    [
        lambda: KEY,
        lambda: text(KEY),
        lambda: KEY.hex(),
        lambda: [KEY, OTHER],
        lambda: text(KEY, OTHER),
        lambda: f" {text(KEY)} , {OTHER.hex()}\n",
        lambda: bytearray(KEY),
    ],
)
def test_a_function_gives_the_key_or_its_text_and_the_first_authenticates(
    given: Callable[[], object],
) -> None:
    keys = RecordKeys(given)  # type: ignore[arg-type]
    assert keys.current().id == RecordKeys(lambda: KEY).current().id
    old = RecordKeys(lambda: OTHER).current().id
    assert (keys.find(old) is not None) == (len(keys.load()) == 2)


@pytest.mark.parametrize(
    "given",
    ["", "short", b"short", b"", [], text(KEY)[:-4], text(KEY) + " short", 7, None, [7], b"\xff" * 40],
)
def test_what_is_no_record_key_is_refused_and_not_shown(given: object) -> None:
    with pytest.raises(ConfigurationError, match="holds no record key") as caught:
        RecordKeys(lambda: given).current()  # type: ignore[arg-type, return-value]
    assert "short" not in str(caught.value) and text(KEY)[:10] not in str(caught.value)


@pytest.mark.parametrize("source", ["", "env:", "file:", "CMK", text(KEY), 7])
def test_a_source_of_another_kind_is_refused_and_not_shown(source: object) -> None:
    with pytest.raises(ConfigurationError, match='give "env:NAME", "file:PATH", or a function') as caught:
        RecordKeys(source)  # type: ignore[arg-type]
    assert text(KEY) not in str(caught.value)


def test_an_environment_variable_is_read_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = RecordKeys("env:CMK_TEST_RECORD_KEY")
    with pytest.raises(KeyUnavailable, match="CMK_TEST_RECORD_KEY is not set"):
        keys.current()
    monkeypatch.setenv("CMK_TEST_RECORD_KEY", text(KEY))
    assert keys.current().id == RecordKeys(lambda: KEY).current().id


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record-key"
    path.write_text(text(KEY))
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        RecordKeys(f"file:{path}").current()


def test_no_key_shows_in_text(tmp_path: Path) -> None:
    keys = RecordKeys(lambda: KEY)
    shown = repr(keys.current()) + repr(keys.__dict__) + repr(keys.current().__dict__)
    assert all(secret not in shown for secret in (KEY.hex(), text(KEY), repr(KEY)[2:-1]))


def test_a_mac_is_for_one_use(tmp_path: Path) -> None:
    key = RecordKeys(lambda: KEY).current()
    assert key.verifies("manifest", b"x", key.mac("manifest", b"x"))
    assert not key.verifies("audit", b"x", key.mac("manifest", b"x"))
    assert not RecordKeys(lambda: OTHER).current().verifies("manifest", b"x", key.mac("manifest", b"x"))


def test_rotation_authenticates_every_tenant_anew_while_other_processes_go_on(world: World) -> None:
    for tenant in ("acme", "globex", ""):
        world.keyring.warm([tenant], new=True)
    world.write("acme", "one")
    other = World(world.url, world.folder)
    assert other.read("acme") == ["one"]
    before = of_world(world)
    assert world.keyring.record_key.rotate() == 3
    assert of_world(world) != before
    assert len(file_of(world).read_text().split()) == 1
    other.now += 301
    assert other.read("acme") == ["one"]
    other.keyring.lifecycle.rotate_dek("globex")
    other.write("new", "two")
    world.restart()
    assert world.read() == ["one", "two"] and world.keyring.audit.verify().problems == ()
    assert [one.event for one in world.keyring.audit.entries()].count("record_key") == 4
    other.close()


def test_a_rotation_that_was_stopped_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for tenant in ("acme", "globex", "initech"):
        world.write(tenant, tenant)

    class Stopped(Exception):
        pass

    def stop(done: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        world.keyring.record_key.rotate(stop)
    assert len(file_of(world).read_text().split()) == 2
    world.restart()
    assert world.read() == ["acme", "globex", "initech"]
    assert world.keyring.record_key.rotate() == 1
    assert len(file_of(world).read_text().split()) == 1
    world.restart()
    assert world.read() == ["acme", "globex", "initech"]


def test_a_tampered_tenant_is_not_authenticated_anew_and_the_old_key_is_kept(world: World) -> None:
    for tenant in ("acme", "globex"):
        world.write(tenant, tenant)
    world.execute("UPDATE cmk_tenants SET reason = 'none' WHERE created_at IS NOT NULL AND epoch = 1")
    found = [one for page in world.keyring.store.pages() for one in page]
    damaged = {name for name, keys in found if isinstance(keys, TamperedError)}
    assert damaged == {"acme", "globex"}
    with pytest.raises(TamperedError):
        world.keyring.record_key.rotate()
    assert len(file_of(world).read_text().split()) == 2


def test_a_key_that_is_not_in_a_file_is_rotated_by_its_owner(world: World) -> None:
    given = [KEY]
    world.restart(record_key=lambda: given)
    world.write("acme", "one")
    given.insert(0, OTHER)
    assert world.keyring.record_key.rotate() == 1
    given.remove(KEY)
    world.restart(record_key=lambda: given)
    assert world.read("acme") == ["one"]


def test_many_processes_that_begin_at_once_make_one_key(sqlite_database: object, tmp_path: Path) -> None:
    path = tmp_path / "record-key"
    found: set[str] = set()
    threads = [
        Thread(target=lambda: found.add(RecordKeys(f"file:{path}", lambda: True).current().id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "record-key"
    else:
        tmp_path.chmod(0o500)
        path = tmp_path / "record-key"
    with pytest.raises(KeyUnavailable, match="record-key"):
        RecordKeys(f"file:{path}", lambda: True).current()


def test_a_keyring_without_one_says_how_to_get_one(world: World) -> None:
    world.restart(providers=[world.provider.from_environment("NOWHERE")], platform_key="local:pmk")
    assert world.keyring.record_keys is None
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
        world.keyring.record_key.keys()


def test_a_tenant_that_never_had_a_dek_is_authenticated_anew_too(world: World) -> None:
    world.keyring.warm(["acme"], new=True)
    world.keyring.assign("empty", "local:pmk")
    assert world.keyring.record_key.rotate() == 2
    assert world.keyring.audit.verify().problems == ()
