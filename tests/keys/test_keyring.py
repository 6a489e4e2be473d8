"""Setting a keyring up, and what it tells about itself."""

import gc
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, Keyring, KeyUnavailable, TenantRequired
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database
from tests.support.world import World

DURATIONS = ["revalidate_after", "outage_grace", "retry_after"]


@pytest.mark.parametrize("duration", [60, 60.0, timedelta(minutes=1)])
def test_durations_are_seconds_or_timedeltas(make_lite: Callable[..., World], duration: Any) -> None:
    world = make_lite(revalidate_after=duration, outage_grace=duration * 2)
    world.write("acme", "one")
    world.provider.calls.clear()
    world.now += 59
    assert world.read() == ["one"] and world.provider.calls == []
    world.now += 1
    world.provider.fault = unavailable
    assert world.read() == ["one"] and world.provider.calls == ["unwrap"]
    world.now += 60
    with pytest.raises(KeyUnavailable):
        world.read()


def unavailable(kek_uri: str) -> None:
    raise KeyUnavailable("the vault is away")


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize(
    "duration", [-1, -0.001, timedelta(seconds=-1), float("nan"), None, "5 minutes", "300", True]
)
def test_what_is_no_duration_is_refused_by_name(lite: World, name: str, duration: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is a duration: give seconds"):
        lite.new_keyring(**{name: duration})


@pytest.mark.parametrize("number", [0, -1])
def test_at_least_one_key_has_to_be_open(lite: World, number: int) -> None:
    with pytest.raises(ConfigurationError, match="max_open_keys"):
        lite.new_keyring(max_open_keys=number)


@pytest.mark.parametrize("part", [-0.1, 1, 2, float("nan")])
def test_the_jitter_is_a_part(lite: World, part: float) -> None:
    with pytest.raises(ConfigurationError, match="revalidation_jitter"):
        lite.new_keyring(revalidation_jitter=part)


@pytest.mark.parametrize("uri", ["", "pmk", "local:", "https://acme.vault.azure.net/keys/clinic-kek"])
def test_a_platform_key_that_no_provider_handles_is_refused(lite: World, uri: str) -> None:
    with pytest.raises(ConfigurationError, match="no provider handles the KEK"):
        lite.new_keyring(platform_key=uri)


def test_the_first_provider_that_handles_a_kek_serves_it(lite: World, tmp_path: Path) -> None:
    other = LocalKeyProvider(tmp_path / "other.json")
    keyring = lite.new_keyring(providers=[other, lite.provider])
    keyring.warm(["acme"], new=True)
    keyring.close()
    assert (tmp_path / "other.json").exists() and lite.provider.calls == []


def test_warm_makes_no_tenant_unless_it_is_told_of_a_new_one(lite: World) -> None:
    lite.keyring.warm(["acme"], new=True)
    meant = r"no tenant 'amce' has keys here: did you mean 'acme'\? For a new tenant give new=True\.$"
    with pytest.raises(ConfigurationError, match=meant):
        lite.keyring.warm(["acme", "amce"], ["deterministic"])
    assert [(line.tenant, line.active) for line in lite.keyring.status()] == [("acme", 1)]
    lite.keyring.warm(["acme", ""], ["deterministic"])
    assert [(line.tenant, line.active) for line in lite.keyring.status()] == [("", 1), ("acme", 2)]


def test_warm_opens_what_it_is_asked_for_ahead_of_use(world: World) -> None:
    world.keyring.warm(["acme", 7], [Purpose.RANDOMIZED, "deterministic"], new=True)
    assert [(line.tenant, line.active, line.open) for line in world.keyring.status()] == [
        ("7", 2, 2),
        ("acme", 2, 2),
    ]
    world.restart()
    world.keyring.warm(["acme"], new=True)
    assert world.provider.calls == ["unwrap"]
    world.keyring.warm(["acme"], new=True)
    world.write("acme", "one")
    assert world.read() == ["one"] and world.provider.calls == ["unwrap"]


def test_warm_refuses_what_names_no_tenant_or_purpose(lite: World) -> None:
    with pytest.raises(TenantRequired):
        lite.keyring.warm([None])
    with pytest.raises(
        ConfigurationError, match="no purpose 'seal': give randomized, deterministic or search"
    ):
        lite.keyring.warm(["acme"], ["seal"], new=True)
    assert lite.keyring.status() == []


def test_warm_takes_a_list_and_not_one_name(lite: World) -> None:
    with pytest.raises(ConfigurationError, match=r"\['acme'\]"):
        lite.keyring.warm("acme")
    assert lite.keyring.status() == []


def test_status_has_a_line_for_each_tenant(world: World) -> None:
    assert world.keyring.status() == []
    world.keyring.warm(["globex", ""], new=True)
    world.keyring.assign("acme", "local:acme")
    world.keyring.warm(["acme"], ["randomized", "deterministic"], new=True)
    world.keyring.forget("globex")
    lines = world.keyring.status()
    assert [(line.tenant, line.kek_uri, line.active, line.retired, line.open) for line in lines] == [
        ("", "local:pmk", 1, 0, 1),
        ("acme", "local:acme", 2, 0, 2),
        ("globex", "local:pmk", 1, 0, 0),
    ]


def test_status_asks_no_kek(lite: World) -> None:
    lite.keyring.warm(["acme"], new=True)
    lite.provider.calls.clear()
    lite.provider.fault = unavailable
    lite.now += 300
    assert [line.open for line in lite.keyring.status()] == [0] and lite.provider.calls == []


def test_names_that_a_database_may_confuse_are_different_tenants(world: World) -> None:
    names = ["acme", "ACME", "acme ", "ácme", "acmé", "ac\u200bme", "a" * 190, "医院", "🏥"]
    deks = {name: world.active(name) for name in names}
    assert len(set(deks.values())) == len(names)
    world.restart()
    assert {name: world.active(name) for name in names} == deks
    assert {line.tenant for line in world.keyring.status()} == set(names)


def test_several_keyrings_serve_several_metadatas_in_one_process(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = World(database.url, tmp_path_factory.mktemp("one"), table_prefix="one_").create()
    other = World(database.url, tmp_path_factory.mktemp("other"), table_prefix="other_").create()
    one.write("acme", "of one")
    other.write("acme", "of the other", table=other.codes)
    assert one.raw("SELECT count(*) FROM one_deks") == one.raw("SELECT count(*) FROM other_deks") == [(1,)]
    one.provider.disable("local:pmk")
    for world in (one, other):
        world.keyring.forget()
    assert other.read(table=other.codes) == ["of the other"]
    with pytest.raises(KeyRevoked):
        one.read()
    one.provider.enable("local:pmk")
    one.keyring.forget()
    assert one.read() == ["of one"]
    for world in (one, other):
        world.close()


def test_one_keyring_serves_several_metadatas(make_lite: Callable[..., World], tmp_path: Path) -> None:
    world = make_lite()
    second = World(world.url, tmp_path, world.engine)
    second.keyring.close()
    world.keyring.protect(second.metadata)
    second.write("acme", "one")
    assert world.read() == ["one"] and second.read() == ["one"]
    assert len(world.keyring.status()) == 1


def test_a_closed_keyring_drops_what_is_open(lite: World) -> None:
    lite.write("acme", "one")
    lite.keyring.close()
    assert len(lite.keyring.opened) == 0
    with pytest.raises(ConfigurationError, match=r"notes\.text.*keyring\.protect"):
        lite.read()
    lite.keyring.close()


def test_a_keyring_that_nobody_holds_is_freed(database: Database, tmp_path: Path) -> None:
    engine = create_engine(database.url)
    provider = LocalKeyProvider(tmp_path / "keys.json")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    watch = weakref.ref(keyring)
    del keyring
    gc.collect()
    assert watch() is None
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"engine": "sqlite://"}, r"not str: give it create_engine"),
        ({"platform_key": None}, "platform_key is the URI of a KEK"),
        ({"providers": LocalKeyProvider("keys.json")}, r"give providers=\[LocalKeyProvider"),
        ({"providers": [LocalKeyProvider]}, r"give providers=\[LocalKeyProvider"),
    ],
)
def test_wrong_arguments_are_refused_and_the_error_says_what_to_give(
    arguments: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {
        "engine": create_engine("sqlite://"),
        "platform_key": "local:pmk",
        "providers": [LocalKeyProvider("keys.json")],
        **arguments,
    }
    with pytest.raises(ConfigurationError, match=says):
        Keyring(given.pop("engine"), **given)
