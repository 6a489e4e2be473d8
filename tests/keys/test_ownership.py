"""A tenant cannot name somebody else's KEK: a key in a vault says by its tag which tenants it may serve."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, KekNotOwned, Keyring
from sqlalchemy_cmk.doctor import check_keys
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.keys.ownership import TenantTag
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.providers.owners import Owners, tag_word
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.support.databases import Database
from tests.support.world import World

TAG = "cmk-tenant"


class Town:
    """Tenants, a vault, and a keyring that the test makes as it needs it."""

    def __init__(self, database: Database, folder: Path, emulator: KeyVaultEmulator) -> None:
        self.vault: Vault = emulator.vault(uuid4().hex)
        self.azure = AzureKeyVaultProvider(
            emulator.credential, trusted_hosts=emulator.trusted_hosts, **emulator.client_options
        )
        self.world = World(database.url, folder)
        self.world.create()
        self.world.write("acme", "theirs")
        self.world.write("globex", "theirs")

    @property
    def keyring(self) -> Keyring:
        return self.world.keyring

    def with_tag(self, tag: TenantTag) -> None:
        self.restart(tenant_tag=tag)

    def restart(self, **options: Any) -> None:
        self.world.restart(providers=[self.azure, self.world.provider], **options)

    def key(self, *tenants: str, name: str = "kek") -> str:
        tags = {TAG: " ".join(map(tag_word, tenants))} if tenants else {"made": "here"}
        self.vault.create_key(name, tags=tags)
        return self.vault.key_uri(name)

    def kek_of(self, tenant: str) -> str:
        return self.keyring.status([tenant])[0].kek_uri


@pytest.fixture
def town(sqlite_database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator) -> Iterator[Town]:
    made = Town(sqlite_database, tmp_path, key_vault_emulator)
    made.restart()
    yield made
    made.world.close()
    made.azure.close()


@pytest.mark.parametrize("named", [(), ("globex",), ("Acme",), ("acme-2", "xacme")])
def test_a_key_that_does_not_name_the_tenant_is_refused_with_what_to_write(
    town: Town, named: tuple[str, ...]
) -> None:
    kek_uri = town.key(*named)
    for assign in (town.keyring.assign, town.keyring.lifecycle.add_wrapping):
        with pytest.raises(KekNotOwned, match="cmk-tenant=acme") as refused:
            assign("acme", kek_uri)
        assert "globex" not in str(refused.value)
    assert town.kek_of("acme") == "local:pmk"
    assert not town.vault.requests.count(operation="wrapKey")


def test_a_key_that_names_the_tenant_is_assigned(town: Town) -> None:
    kek_uri = town.key("globex", "acme")
    town.keyring.assign("acme", kek_uri)
    town.keyring.lifecycle.add_wrapping("acme", town.key("acme", name="west"))
    town.keyring.forget()
    assert town.kek_of("acme") == kek_uri and town.world.read("acme") == ["theirs"]


def test_a_key_may_serve_every_tenant(town: Town) -> None:
    town.vault.create_key("kek", tags={TAG: "*"})
    report = town.keyring.assign_many(["acme", "globex"], town.vault.key_uri("kek"))
    assert sorted(report.assigned) == ["acme", "globex"] and not report.failed


def test_of_many_tenants_those_are_moved_whom_the_key_names(town: Town) -> None:
    kek_uri = town.key("globex")
    report = town.keyring.assign_many(["acme", "globex", "new"], kek_uri)
    assert report.assigned == ["globex"] and set(report.failed) == {"acme", "new"}
    assert "cmk-tenant=acme" in report.failed["acme"] and town.kek_of("globex") == kek_uri


def test_of_a_pinned_version_its_own_tag_counts_and_otherwise_the_newest(town: Town) -> None:
    old = town.vault.create_key("kek", tags={TAG: "acme"})
    town.key("globex")
    town.keyring.assign("acme", old.kid)
    with pytest.raises(KekNotOwned):
        town.keyring.assign("acme", town.vault.key_uri("kek"))
    town.vault.update_key("kek", tags={TAG: "acme"})
    town.keyring.assign("acme", town.vault.key_uri("kek"))


def test_the_platform_and_its_kek_need_no_tag(town: Town) -> None:
    kek_uri = town.key()
    town.keyring.assign("", kek_uri)
    town.restart(platform_key=kek_uri)
    town.keyring.assign("acme", kek_uri)
    assert town.kek_of("acme") == kek_uri


def test_the_application_may_name_the_tag_and_may_say_otherwise_in_code(town: Town) -> None:
    kek_uri = town.key("globex")
    town.with_tag(lambda tenant, uri: (tenant, uri) == ("acme", kek_uri))
    town.keyring.assign("acme", kek_uri)
    with pytest.raises(KekNotOwned, match="tenant_tag"):
        town.keyring.assign("globex", kek_uri)
    town.with_tag("customer")
    with pytest.raises(KekNotOwned, match="customer=globex"):
        town.keyring.assign("globex", kek_uri)
    town.with_tag(None)
    town.keyring.assign("globex", kek_uri)


def test_an_answer_in_code_is_a_bool(town: Town) -> None:
    async def anybody(tenant: str, kek_uri: str) -> bool:
        return True

    def ask(tenant: str, kek_uri: str) -> Any:
        answer = anybody(tenant, kek_uri)
        answer.close()
        return answer

    town.with_tag(ask)
    with pytest.raises(ConfigurationError, match="bool"):
        town.keyring.assign("acme", town.key())


def test_what_names_no_tag_is_refused() -> None:
    for wrong in ("", 7, b"cmk-tenant"):
        with pytest.raises(ConfigurationError, match="tenant_tag"):
            Keyring(platform_key="local:pmk", providers=[], tenant_tag=wrong)  # type: ignore[arg-type]


def test_a_tag_that_was_changed_later_is_a_warning_of_the_doctor_and_shuts_nothing(town: Town) -> None:
    kek_uri = town.key("acme", "globex")
    town.keyring.assign_many(["acme", "globex"], kek_uri)
    assert not [one for one in check_keys(town.keyring) if TAG in one.what]
    town.vault.update_key("kek", tags={TAG: "initech"})
    (found,) = (one for one in check_keys(town.keyring) if TAG in one.what)
    assert found.level is Level.WARNING and "'acme'" in found.what and "1 more" in found.what
    assert found.remedy and "initech" not in found.what
    town.keyring.forget()
    assert town.world.read("acme") == ["theirs"]


NAMES = st.text(min_size=1, max_size=190)


@given(NAMES, NAMES)
def test_no_two_tenants_have_one_word_and_each_fits_into_a_tag(one: str, other: str) -> None:
    assert (tag_word(one) == tag_word(other)) is (one == other)
    word = tag_word(one)
    assert word.isascii() and " " not in word and word != "*" and len(word) <= 71
    owners = Owners.read(f"{word} somebody-else")
    assert owners.include(one) and owners.include(other) is (other in (one, "somebody-else"))


def test_a_tag_of_odd_spaces_names_whom_it_names() -> None:
    assert Owners.read("  acme   globex ").words == {"acme", "globex"}
    assert not Owners.read("").include("") and not Owners.read(" ").include("acme")
