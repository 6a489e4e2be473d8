"""A customer brings a key: the instructions make one that passes the check, and each mistake has its cure."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sqlalchemy_cmk import ConfigurationError, KekPolicy, Keyring
from sqlalchemy_cmk.keys.onboarding import OnboardingReport
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider
from sqlalchemy_cmk.providers.onboarding import OnboardingProblem as Problem
from sqlalchemy_cmk.providers.onboarding import OnboardingStep, StepState
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.providers.places import QUICK

TAG = "cmk-tenant"
GOOD: dict[str, Any] = {
    "kty": "RSA-HSM",
    "size": 2048,
    "key_ops": ["wrapKey", "unwrapKey"],
    "tags": {TAG: "acme"},
}
VAULT = "https://acme.vault.azure.net/keys/clinic-kek"
HSM = "https://acme.managedhsm.azure.net/keys/clinic-kek"


@dataclass
class Place:
    """A vault, and the application's keyring."""

    emulator: KeyVaultEmulator
    vault: Vault
    folder: Path

    def keyring(self, **options: Any) -> Keyring:
        credential = options.pop("credential", self.emulator.credential)
        azure = AzureKeyVaultProvider(
            credential,
            trusted_hosts=[*self.emulator.trusted_hosts, "127.0.0.1:9"],
            **{**QUICK, "retries": 0},
            **self.emulator.client_options,
        )
        local = LocalKeyProvider(self.folder / "keys.json")
        return Keyring(platform_key="local:pmk", providers=[azure, local], **options)

    def check(self, kek_uri: str | None = None, *, tenant: str = "acme", **options: Any) -> OnboardingReport:
        directory = {"other_directory": options.pop("other_directory", False)}
        with self.keyring(**options) as keyring:
            return keyring.onboarding(tenant, kek_uri or self.vault.key_uri("kek"), **directory).check()


@pytest.fixture
def place(key_vault_emulator: KeyVaultEmulator, tmp_path: Path) -> Iterator[Place]:
    vault = key_vault_emulator.vault(uuid4().hex, purge_protection=True, rbac=True)
    yield Place(key_vault_emulator, vault, tmp_path)
    vault.faults.clear()


def wrong(report: OnboardingReport) -> list[OnboardingStep]:
    return [one for one in report.steps if one.problem is not None]


@pytest.mark.parametrize("format", ["az", "bicep", "terraform", "text"])
@pytest.mark.parametrize("kek_uri", [VAULT, HSM])
def test_a_key_made_by_the_instructions_passes_the_check(
    key_vault_emulator: KeyVaultEmulator, tmp_path: Path, format: str, kek_uri: str
) -> None:
    emulator, name = key_vault_emulator, uuid4().hex
    vault = (emulator.managed_hsm if kek_uri == HSM else emulator.vault)(name, purge_protection=True)
    place = Place(emulator, vault, tmp_path)
    with place.keyring() as keyring:
        text = keyring.onboarding("acme", kek_uri, application=emulator.app.client_id).instructions(format)
    made = READERS[format](text)
    assert made.pop("name") == "clinic-kek"
    vault.create_key("clinic-kek", **made)
    report = place.check(vault.key_uri("clinic-kek"))
    assert report.ok and {one.state for one in report.steps} == {StepState.OK}, report
    assert "urge" in text and "AuditEvent" in text and "Crypto Service Encryption User" in text


def from_az(text: str) -> dict[str, Any]:
    (line,) = (one.strip() for one in text.splitlines() if "az keyvault key create" in one)
    _, *words = line.split(" --")
    given = {name: values for name, *values in map(shlex.split, words)}
    tags = dict(one.split("=", 1) for one in given["tags"])
    (name,), (kty,), (size,) = given["name"], given["kty"], given["size"]
    return {"name": name, "kty": kty, "size": int(size), "key_ops": given["ops"], "tags": tags}


def from_bicep(text: str) -> dict[str, Any]:
    return from_block(text, r"resource kek .*?\n}\n", ": ", "'", "kty", "keySize")


def from_terraform(text: str) -> dict[str, Any]:
    return from_block(text, r'resource "\w+_key" "kek".*?\n}\n', " *= ", '"', "key_type", "key_size")


def from_block(text: str, block: str, sets: str, quote: str, kty: str, size: str) -> dict[str, Any]:
    found = re.search(block, text, re.DOTALL)
    assert found is not None
    lines = dict(
        re.findall(rf"^ +{quote}?([\w-]+){quote}?{sets}{quote}?([\w-]+)", found.group(), re.MULTILINE)
    )
    operations = re.findall(rf"{quote}((?:un)?wrapKey){quote}", found.group())
    tags = {TAG: lines[TAG]}
    return {
        "name": lines["name"],
        "kty": lines[kty],
        "size": int(lines[size]),
        "key_ops": operations,
        "tags": tags,
    }


READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "az": from_az,
    "text": from_az,
    "bicep": from_bicep,
    "terraform": from_terraform,
}

SOON, PAST = 4_000_000_000, 1_000_000_000


@pytest.mark.parametrize(
    ("changes", "problem", "cure"),
    [
        ({"enabled": False}, Problem.DISABLED, "--enabled true"),
        ({"expires": PAST}, Problem.EXPIRED, "key rotate"),
        ({"not_before": SOON}, Problem.NOT_YET_VALID, "--not-before 20"),
        ({"key_ops": ["wrapKey"]}, Problem.WRONG_OPERATIONS, "--ops wrapKey unwrapKey"),
        ({"tags": None}, Problem.NOT_OWNED, "--tags cmk-tenant=acme"),
        ({"tags": {TAG: "globex"}}, Problem.NOT_OWNED, "--tags cmk-tenant=acme"),
    ],
)
def test_a_key_that_is_wrong_is_named_with_the_command_that_corrects_it(
    place: Place, changes: dict[str, Any], problem: Problem, cure: str
) -> None:
    place.vault.create_key("kek", **{**GOOD, **changes})
    report = place.check()
    (step,) = wrong(report)
    assert not report.ok and step.state is StepState.FAILED
    assert step.problem is problem and cure in step.do and step.do.startswith("az keyvault key ")
    assert "globex" not in str(report)
    after = report.steps[report.steps.index(step) + 1 :]
    assert after and {one.state for one in after} == {StepState.NOT_REACHED}
    assert not place.vault.requests.count(operation="unwrapKey")


def test_an_aes_key_that_is_too_short_is_named(place: Place, key_vault_emulator: KeyVaultEmulator) -> None:
    hsm = key_vault_emulator.managed_hsm(uuid4().hex, purge_protection=True)
    hsm.create_key("short", "oct-HSM", 128, tags={TAG: "acme"}, key_ops=["wrapKey", "unwrapKey"])
    (short,) = wrong(place.check(hsm.key_uri("short")))
    assert short.problem is Problem.WRONG_SIZE and "key create" in short.do


def test_what_the_key_may_do_beyond_is_a_warning(place: Place) -> None:
    place.vault.create_key("kek", **{**GOOD, "key_ops": ["wrapKey", "unwrapKey", "sign"]})
    report = place.check()
    (step,) = wrong(report)
    assert report.ok and step.state is StepState.WARNING and step.problem is Problem.EXTRA_OPERATIONS
    assert "sign" in step.seen and "--ops wrapKey unwrapKey" in step.do


@pytest.mark.parametrize(
    ("granted", "problem"),
    [
        ([], Problem.MAY_NOT_GET),
        (["wrapKey", "unwrapKey"], Problem.MAY_NOT_GET),
        (["get", "unwrapKey"], Problem.MAY_NOT_WRAP),
        (["get", "wrapKey"], Problem.MAY_NOT_UNWRAP),
    ],
)
def test_each_missing_permission_is_named_by_itself(
    place: Place, granted: list[str], problem: Problem
) -> None:
    place.vault.create_key("kek", **GOOD)
    place.vault.revoke(place.emulator.app)
    place.vault.grant(place.emulator.app, granted)
    (step,) = wrong(place.check())
    assert step.problem is problem and "403 ForbiddenByRbac" in step.seen
    assert step.do.startswith("az role assignment create") and "/keys/kek" in step.do


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        ("encrypt", "encrypt"),
        ("decrypt", "decrypt"),
        ("sign", "sign"),
        ("create", "make keys"),
        ("update", "change the key"),
    ],
)
def test_a_permission_too_many_is_a_warning_and_nothing_is_changed_by_looking(
    place: Place, permission: str, words: str
) -> None:
    place.vault.create_key("kek", **GOOD)
    place.vault.grant(place.emulator.app, [permission])
    before = place.vault.versions("kek")
    report = place.check()
    (step,) = wrong(report)
    assert report.ok and step.problem is Problem.EXTRA_PERMISSIONS and step.seen.endswith(words)
    assert "role assignment list" in step.do
    assert place.vault.versions("kek") == before and before[0].enabled


def test_what_cannot_be_found_or_reached_is_told_apart(place: Place) -> None:
    vault, kek_uri = place.vault, place.vault.key_uri("kek")
    (none,) = wrong(place.check())
    assert none.problem is Problem.NO_SUCH_KEY and "key create" in none.do
    vault.create_key("kek", **GOOD)
    vault.delete_key("kek")
    (deleted,) = wrong(place.check())
    assert deleted.problem is Problem.DELETED and "key recover" in deleted.do
    vault.recover_key("kek")
    (version,) = wrong(place.check(f"{kek_uri}/{'0' * 32}"))
    assert version.problem is Problem.NO_SUCH_KEY and "version" in version.seen
    for rule in ("ForbiddenByFirewall", "ForbiddenByConnection"):
        vault.block(rule)
        (blocked,) = wrong(place.check())
        assert blocked.problem is Problem.NETWORK_BLOCKED and "network-rule add" in blocked.do
    vault.unblock()
    vault.faults.down()
    assert place.check().problems == (Problem.UNREACHABLE,)
    vault.faults.clear()
    (nobody,) = wrong(place.check("https://127.0.0.1:9/keys/kek"))
    assert nobody.problem is Problem.UNREACHABLE
    assert place.check(kek_uri).ok


def test_a_sign_in_that_fails_is_no_fault_of_the_key(place: Place) -> None:
    place.vault.create_key("kek", **GOOD)
    unknown = replace(place.emulator.app, client_id=str(uuid4()))
    (step,) = wrong(place.check(credential=lambda: place.emulator.credential(unknown), other_directory=True))
    assert step.problem is Problem.SIGN_IN and step.do.startswith("az ad sp create --id")
    (step,) = wrong(place.check(credential=lambda: place.emulator.credential(secret="wrong")))
    assert step.problem is Problem.SIGN_IN and "renew" in step.do


def test_purge_protection_that_is_off_is_named(place: Place) -> None:
    place.vault = place.emulator.vault(uuid4().hex)
    place.vault.create_key("kek", **GOOD)
    (step,) = wrong(place.check())
    assert step.problem is Problem.NO_PURGE_PROTECTION and "--enable-purge-protection true" in step.do


def test_a_vault_that_unwraps_to_something_else_cannot_serve(place: Place) -> None:
    made = place.vault.create_key("kek", **GOOD)
    place.vault.faults.foreign_answer(200, {"kid": made.kid, "value": "AAAA"}, only=["unwrapKey"])
    assert place.check().problems == (Problem.CANNOT_SERVE,)


def test_what_the_application_itself_refuses_is_not_asked(place: Place) -> None:
    place.vault.create_key("kek", **GOOD)
    refused = place.check(kek_allowed=KekPolicy({"globex": place.vault.url.removeprefix("https://")}))
    assert refused.problems == (Problem.NOT_ALLOWED,)
    assert place.check("gopher://kek").problems == (Problem.NOT_SERVED,)
    assert place.check(tenant_tag=lambda tenant, kek_uri: False).problems == (Problem.NOT_OWNED,)
    assert not place.vault.requests
    assert place.check(tenant_tag=lambda tenant, kek_uri: True).ok


def test_where_keys_need_no_tag_none_is_asked_for(place: Place) -> None:
    place.vault.create_key("kek", **{**GOOD, "tags": None})
    assert place.check(tenant_tag=None).ok and place.check(tenant="").ok
    with place.keyring(tenant_tag=None) as keyring:
        onboarding = keyring.onboarding("acme", VAULT)
        assert not any("--tags" in onboarding.instructions(one) for one in onboarding.formats)


def test_a_kek_of_another_place_is_tried(place: Place) -> None:
    with place.keyring() as keyring:
        onboarding = keyring.onboarding("acme", "local:acme")
        assert "local:acme" in onboarding.instructions()
        with pytest.raises(ConfigurationError, match="text"):
            onboarding.instructions("bicep")
        (step,) = wrong(onboarding.check())
        assert step.problem in (Problem.CANNOT_SERVE, Problem.UNREACHABLE)
        LocalKeyProvider(place.folder / "keys.json").ensure("local:acme")
        assert onboarding.check().ok


@pytest.mark.parametrize("tenant", ["a'b", 'x"; rm -rf $HOME; "', "${acme}", "line\nbreak", "ärzte"])
def test_no_name_breaks_out_of_the_instructions(place: Place, tenant: str) -> None:
    with place.keyring() as keyring:
        onboarding = keyring.onboarding(tenant, VAULT)
        for one in onboarding.formats:
            text = onboarding.instructions(one)
            assert tenant not in text and re.search(r"sha256:[0-9a-f]{64}", text)
        for bad in ("x; true", "$(id)", "a'b", "a\nb", ""):
            with pytest.raises(ConfigurationError, match="application"):
                keyring.onboarding(tenant, VAULT, application=bad)


@pytest.mark.parametrize("kek_uri", [VAULT, HSM])
def test_another_directory_lets_the_application_in_first(place: Place, kek_uri: str) -> None:
    with place.keyring() as keyring:
        theirs = keyring.onboarding("acme", kek_uri, application="77aa", other_directory=True)
        assert re.search(
            r"az ad sp create --id 77aa\n.*role assignment create", theirs.instructions("az"), re.DOTALL
        )
        assert "use_existing = true" in theirs.instructions("terraform")
        ours = keyring.onboarding("acme", kek_uri)
        assert "sp create" not in ours.instructions("az") and "APPLICATION_ID" in ours.instructions("az")
