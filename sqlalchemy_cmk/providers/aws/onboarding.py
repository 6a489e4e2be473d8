"""What the owner of a key in AWS KMS has to do, as a key policy to paste, and whether it was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING, Any

from sqlalchemy_cmk.errors import CmkError, CredentialError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.aws.answers import NoSuchKey, NotPermitted
from sqlalchemy_cmk.providers.aws.identifiers import KeyArn
from sqlalchemy_cmk.providers.onboarding import (
    KekOnboarding,
    OnboardingFormat,
    OnboardingProblem,
    OnboardingRequest,
    OnboardingStep,
    failed,
    not_reached,
    passed,
)
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.aws.provider import AwsKmsProvider

CONTEXT = "kms:EncryptionContext:cmk-tenant"
ROLE = "arn:aws:iam::OUR_ACCOUNT:role/APPLICATION_ROLE"
READ, KIND, WRAP, UNWRAP = "may read the key", "type", "may wrap", "may unwrap"
THEIRS = "may wrap for nobody else"


class KmsOnboarding(KekOnboarding):
    """A key in AWS KMS.

    Args:
        provider: the application's, bound to the tenant.
        arn: the key, or an alias of it.
        request: for whom.
        describe: asks KMS for the key's description.
    """

    def __init__(
        self,
        provider: AwsKmsProvider,
        arn: KeyArn,
        request: OnboardingRequest,
        describe: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._provider = provider
        self._arn = arn
        self._request = request
        self._describe = describe

    def instructions(self, format: OnboardingFormat) -> str:
        """Return the commands of aws, and the key's policy."""
        return _TEXT.format(
            region=self._arn.region,
            alias=f"alias/{self._arn.alias}" if self._arn.alias else "alias/NAME",
            policy=self._policy(),
        )

    def steps(self) -> list[OnboardingStep]:
        """Check the key. A random value is wrapped, for the tenant and for a name that nobody has."""
        checks = {READ: self._read, WRAP: self._wrap, UNWRAP: self._unwrap}
        if self._request.tag is not None:
            checks[THEIRS] = self._theirs
        done: list[OnboardingStep] = []
        for name, check in checks.items():
            try:
                done.append(check())
            except CmkError as error:
                done.append(self._failed(name, error))
            if done[-1].problem is not None:
                break
        return [*done, *not_reached(list(checks)[len(done) :])]

    def _read(self) -> OnboardingStep:
        found = self._describe()
        spec, usage = found.get("KeySpec", "SYMMETRIC_DEFAULT"), found.get("KeyUsage", "ENCRYPT_DECRYPT")
        if (spec, usage) != ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"):
            return failed(READ, OnboardingProblem.WRONG_KIND, f"{spec}, {usage}", self._make())
        if found.get("KeyManager") == "AWS":
            seen = "the key is managed by AWS: nobody can disable it"
            return failed(READ, OnboardingProblem.WRONG_KIND, seen, self._make())
        return passed(READ, "a symmetric key for encryption")

    def _wrap(self) -> OnboardingStep:
        self._probe = Secret(token_bytes(DEK_BYTES))
        self._wrapped = self._provider.wrap(str(self._arn), self._probe)
        return passed(WRAP, "a random value was wrapped for the tenant")

    def _unwrap(self) -> OnboardingStep:
        if self._provider.unwrap(self._wrapped) != self._probe:
            seen = "KMS unwraps to something else than was wrapped"
            return failed(UNWRAP, OnboardingProblem.CANNOT_SERVE, seen, self._make())
        return passed(UNWRAP, "and unwrapped again")

    def _theirs(self) -> OnboardingStep:
        if self._provider.may_wrap_for(token_hex(), str(self._arn)):
            seen = "the key's policy does not name the tenant: the application may use the key for anybody"
            return failed(THEIRS, OnboardingProblem.NOT_OWNED, seen, self._put())
        return passed(THEIRS, "the key's policy names the tenant")

    def _failed(self, step: str, error: CmkError) -> OnboardingStep:
        seen, enable = str(error), self._aws("enable-key --key-id KEY_ID")
        may_not = {READ: OnboardingProblem.MAY_NOT_GET, UNWRAP: OnboardingProblem.MAY_NOT_UNWRAP}
        if isinstance(error, NoSuchKey):
            return failed(step, OnboardingProblem.NO_SUCH_KEY, seen, self._make())
        if isinstance(error, NotPermitted):
            return failed(step, may_not.get(step, OnboardingProblem.MAY_NOT_WRAP), seen, self._put())
        if isinstance(error, KeyRevoked):
            return failed(step, OnboardingProblem.DISABLED, seen, enable)
        if isinstance(error, CredentialError):
            return failed(step, OnboardingProblem.SIGN_IN, seen, "renew the application's credentials")
        if isinstance(error, KeyUnavailable):
            return failed(step, OnboardingProblem.UNREACHABLE, seen, "check the region, and try again")
        return failed(step, OnboardingProblem.CANNOT_SERVE, seen, self._make())

    def _make(self) -> str:
        return self._aws("create-key --policy file://policy.json")

    def _put(self) -> str:
        return self._aws("put-key-policy --key-id KEY_ID --policy-name default --policy file://policy.json")

    def _aws(self, command: str) -> str:
        return f"aws kms {command} --region {self._arn.region}"

    def _policy(self) -> str:
        partition, account = self._arn.partition, self._arn.account
        role = {"AWS": self._request.application or ROLE}
        use: dict[str, Any] = {
            "Sid": "TheApplicationForThisTenantAlone",
            "Effect": "Allow",
            "Principal": role,
            "Action": ["kms:Encrypt", "kms:Decrypt"],
            "Resource": "*",
        }
        if self._request.tenant:
            # docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
            name = self._request.tenant.replace("${", "${$}{")
            use["Condition"] = {"StringEquals": {CONTEXT: name}}
        statements = [
            {
                "Sid": "OurOwnAdministrators",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            },
            use,
            {
                "Sid": "TheApplicationReads",
                "Effect": "Allow",
                "Principal": role,
                "Action": "kms:DescribeKey",
                "Resource": "*",
            },
        ]
        return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


_TEXT = """\
1. Write the key's policy to policy.json. The condition says whose key it is: KMS refuses it to the
   application for any other tenant, and without it the key is not taken.

{policy}

2. Make the key, and give it a name. For a key that you have, put the policy in its place:
   aws kms put-key-policy --region {region} --key-id KEY_ID --policy-name default --policy file://policy.json

     aws kms create-key --region {region} --policy file://policy.json
     aws kms create-alias --region {region} --alias-name {alias} --target-key-id KEY_ID

3. Keep a trail of CloudTrail: it has each use of the key, with the tenant in its encryption context.

Replace OUR_ACCOUNT and APPLICATION_ROLE (the application's) and KEY_ID, as create-key says it.
"""
