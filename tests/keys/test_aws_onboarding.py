"""A customer brings a key of AWS KMS: its policy says whose it is, and the check finds each mistake."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk import KekNotOwned, Keyring
from sqlalchemy_cmk.keys import Onboarding
from sqlalchemy_cmk.providers import OnboardingProblem
from tests.providers.aws.place import AwsPlace, kms, place
from tests.support.databases import Database
from tests.support.world import World

__all__ = ["kms", "place"]

ROLE = "arn:aws:iam::444455556666:role/clinic-app"


class Brought:
    """A key made by the instructions for acme, and the keyring of an application that may use it."""

    def __init__(self, place: AwsPlace) -> None:
        self.place = place
        local = "arn:aws:kms:eu-central-1:111122223333:alias/pmk"
        self.keyring = Keyring(platform_key=local, providers=[place.provider])
        self.key = place.key
        self.put(self.policy())

    def onboarding(self, tenant: str = "acme") -> Onboarding:
        return self.keyring.onboarding(tenant, self.place.kek_uri, application=ROLE)

    def policy(self, tenant: str = "acme") -> str:
        text = self.onboarding(tenant).instructions()
        return text[text.index("{") : text.rindex("}\n") + 1]

    def put(self, policy: str) -> None:
        self.key.policy = policy

    def problems(self, tenant: str = "acme") -> tuple[OnboardingProblem, ...]:
        return self.onboarding(tenant).check().problems


@pytest.fixture
def brought(place: AwsPlace) -> Iterator[Brought]:
    made = Brought(place)
    yield made
    made.keyring.close()


def test_a_key_with_the_policy_that_is_printed_passes_the_check(brought: Brought) -> None:
    report = brought.onboarding().check()
    assert report.ok and not report.problems
    assert [one for one in report.steps if one.seen == "the key's policy names the tenant"]
    statements = json.loads(brought.policy())["Statement"]
    assert {"AWS": ROLE} in [one["Principal"] for one in statements]
    assert brought.problems("globex") == (OnboardingProblem.MAY_NOT_WRAP,)


def test_a_policy_that_names_nobody_lets_the_key_be_named_by_anybody(brought: Brought) -> None:
    policy = json.loads(brought.policy())
    for statement in policy["Statement"]:
        statement.pop("Condition", None)
    brought.put(json.dumps(policy))
    (step,) = (one for one in brought.onboarding().check().steps if one.problem is not None)
    assert step.problem is OnboardingProblem.NOT_OWNED and "put-key-policy" in step.do


def test_each_mistake_with_a_key_of_kms_is_named(brought: Brought) -> None:
    brought.place.revoke()
    assert brought.problems() == (OnboardingProblem.DISABLED,)
    brought.place.restore()
    brought.place.kms.fault = 400, "ExpiredTokenException"
    assert brought.problems() == (OnboardingProblem.SIGN_IN,)
    brought.place.kms.fault = 503, "ServiceUnavailable"
    assert brought.problems() == (OnboardingProblem.UNREACHABLE,)
    brought.place.kms.fault = 400, "AccessDeniedException"
    assert brought.problems() == (OnboardingProblem.MAY_NOT_GET,)
    brought.place.kms.fault = None
    brought.key.key_spec = "RSA_2048"
    assert brought.problems() == (OnboardingProblem.WRONG_KIND,)
    missing = brought.place.kek_uri.replace("clinic", "clinik")
    assert brought.keyring.onboarding("acme", missing).check().problems == (OnboardingProblem.NO_SUCH_KEY,)


@pytest.mark.parametrize("names", ["acme", ["acme", "initech"]])
def test_a_key_names_whom_its_policy_names(brought: Brought, names: Any) -> None:
    policy = json.loads(brought.policy())
    policy["Statement"][1]["Condition"]["StringEquals"] = {"kms:EncryptionContext:cmk-tenant": names}
    brought.put(json.dumps(policy))

    def owned(tenant: str) -> bool:
        owners = brought.place.provider.for_tenant(tenant).owners(brought.place.kek_uri, "cmk-tenant")
        assert owners is not None
        return owners.include(tenant)

    assert owned("acme") and not owned("globex") and owned("initech") is ("initech" in names)


def test_only_a_key_that_its_policy_binds_to_the_tenant_is_assigned(
    brought: Brought, sqlite_database: Database, tmp_path: Path
) -> None:
    world = World(sqlite_database.url, tmp_path)
    world.create()
    world.write("acme", "theirs")
    world.write("globex", "theirs")
    world.restart(providers=[brought.place.provider, world.provider])
    report = world.keyring.assign_many(["acme", "globex"], brought.place.kek_uri)
    assert report.assigned == ["acme"] and set(report.failed) == {"globex"}
    world.keyring.forget()
    assert world.read("acme") == ["theirs"]
    with pytest.raises(KekNotOwned):
        world.keyring.assign("globex", brought.place.kek_uri)
    world.close()


def test_a_name_is_no_variable_of_the_policy(brought: Brought) -> None:
    policy = json.loads(brought.policy('${aws:username}"'))
    (name,) = policy["Statement"][1]["Condition"]["StringEquals"].values()
    assert name == '${$}{aws:username}"'
