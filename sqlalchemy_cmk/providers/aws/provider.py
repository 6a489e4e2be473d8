"""KEKs in AWS KMS. Wrapping happens there: the KEK never leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from secrets import token_bytes, token_hex
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.aws.answers import NoSuchKey, NotPermitted
from sqlalchemy_cmk.providers.aws.clients import Answer, Clients, default_session
from sqlalchemy_cmk.providers.aws.identifiers import KeyArn, is_key_id, parse_arn
from sqlalchemy_cmk.providers.aws.onboarding import KmsOnboarding
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped, foreign_algorithm, foreign_version
from sqlalchemy_cmk.providers.onboarding import KekOnboarding, OnboardingRequest
from sqlalchemy_cmk.providers.owners import Owners, tag_word
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.kinds import FUNCTION, described, several
from sqlalchemy_cmk.runtime.secret import Secret

ALGORITHM = "SYMMETRIC_DEFAULT"
LONGEST_WRAPPING = 6144
TENANT = "cmk-tenant"
PLATFORM = {"cmk-platform": "true"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class AwsKmsProvider(KeyProvider):
    """Wraps DEKs by symmetric keys of AWS KMS, which the ARN of a key or of an alias names.

    The role of the application needs ``kms:Encrypt``, ``kms:Decrypt`` and ``kms:DescribeKey``. Each wrapping
    is bound to its tenant by the encryption context ``{"cmk-tenant": NAME}``, or ``{"cmk-platform": "true"}``
    for the platform. The key's policy has to demand the tenant's, see :meth:`owners`; CloudTrail shows it.

    A wrapping's KEK version is the id of the key that made it. KMS keeps every key material that it has
    rotated, and does not tell which one wraps: with a key's ARN :meth:`newest_version` says ``None``, and a
    rewrap wraps every DEK again. With an alias it is the key that the alias leads to now.

    Args:
        session: the ``boto3.Session`` whose credentials are used; ``None`` for those of the process.
        session_for: instead, returns the session for an account's keys, such as one that has assumed the
            customer's role; it is called once for each account and region.
        accounts: the accounts whose keys may be used; ``None`` for any that IAM lets the application use.
        retries: how many times a request is repeated that did not reach KMS or was throttled. Default 3.
        retry_bound: seconds after which a request is not repeated any more. Default 10.
        user_agent: names the application in CloudTrail, as in ``"clinic/2.1"``; its ``userAgent`` also has
            the id of each call, as the audit trail has it. Default ``"sqlalchemy_cmk"``.
        options: further arguments of ``session.client("kms")``: ``endpoint_url``, ``verify``, ``config``.
            Connections time out after 3 seconds and answers after 5; botocore's own retries are off.

    Raises:
        ConfigurationError: both ``session`` and ``session_for`` are given, or an argument is of the wrong
            kind, or ``endpoint_url`` is neither ``https`` nor on this machine.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        session_for: Callable[[str], Any] | None = None,
        accounts: Iterable[str] | None = None,
        retries: int = 3,
        retry_bound: float = 10,
        user_agent: str = "sqlalchemy_cmk",
        **options: Any,
    ) -> None:
        if session is not None and session_for is not None:
            raise ConfigurationError("give AwsKmsProvider either session= or session_for=, not both")
        if session is not None and not hasattr(session, "client"):
            raise ConfigurationError(
                f"AwsKmsProvider takes a boto3.Session, not {type(session).__name__}: keys are named by the "
                "URIs of KEKs"
            )
        if isinstance(accounts, str):
            raise ConfigurationError("accounts is a list of account ids: give accounts=['111122223333']")
        several("a list of account ids").or_none.require("accounts", accounts)
        FUNCTION.or_none.require("session_for", session_for)
        for name, value in (("retries", retries), ("retry_bound", retry_bound)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigurationError(f"{name} is a number, 0 or more, not {described(value)}")
        _check_endpoint(options.get("endpoint_url"))
        self._accounts = None if accounts is None else frozenset(accounts)
        sessions = session_for or (lambda account: session or default_session())
        self._clients = Clients(sessions, int(retries), retry_bound, user_agent, options)
        self._context = PLATFORM

    def for_tenant(self, tenant: str) -> AwsKmsProvider:
        """Return the provider whose wrappings are bound to a tenant."""
        bound = copy(self)
        bound._context = {TENANT: tenant} if tenant else PLATFORM
        return bound

    def __repr__(self) -> str:
        accounts = "of every account" if self._accounts is None else f"of {', '.join(sorted(self._accounts))}"
        return f"AwsKmsProvider(keys {accounts})"

    def handles(self, kek_uri: str) -> bool:
        """Return whether the URI is the ARN of a key or an alias, of an account whose keys may be used."""
        arn = parse_arn(kek_uri)
        return arn is not None and self._trusts(arn)

    def place_of(self, kek_uri: str) -> str:
        """Return the region: its keys are out of reach together."""
        return self._identify(kek_uri).place

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a DEK with the key, or with the key that the alias leads to.

        Raises:
            KeyRevoked: the key is disabled, deleted, pending deletion, or not the application's to use.
            KeyUnavailable: KMS cannot be reached now, or throttles.
            CredentialError: the application's own credentials failed.
            ConfigurationError: the key is not symmetric.
        """
        arn, context = self._identify(kek_uri), self._context
        answer = self._clients.ask(
            kek_uri,
            arn,
            "Encrypt",
            lambda: {"KeyId": str(arn), "Plaintext": dek.reveal(), "EncryptionContext": context},
        )
        if answer.value is None:
            raise KeyUnavailable(f"{kek_uri}: KMS's answer to Encrypt holds no value")
        wrapped = Wrapped(kek_uri, _key_of(answer, arn), ALGORITHM, answer.value.reveal())
        self.check_wrapping(wrapped)
        return wrapped

    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Return the DEK, unwrapped in KMS by the key that wrapped it, for the same tenant.

        Raises:
            TamperedError: this key has not made the wrapped bytes, or not for this tenant, or see
                :meth:`check_wrapping`.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        self.check_wrapping(wrapped)
        kek_uri, context = wrapped.kek_uri, self._context
        arn = self._identify(kek_uri).of_key(wrapped.kek_version)
        answer = self._clients.ask(
            kek_uri,
            arn,
            "Decrypt",
            lambda: {"KeyId": str(arn), "CiphertextBlob": wrapped.data, "EncryptionContext": context},
        )
        dek = answer.value
        if dek is None or len(dek) != DEK_BYTES:
            size = 0 if dek is None else len(dek)
            raise TamperedError(f"{kek_uri}: Decrypt gave {size} bytes instead of {DEK_BYTES}")
        return dek

    def check_wrapping(self, wrapped: Wrapped) -> None:
        """Refuse a version that is not a key's id, and an algorithm that this provider never uses.

        Raises:
            TamperedError: it is one of these, not the key that the URI names, or longer than any wrapped DEK.
        """
        pinned = self._identify(wrapped.kek_uri).key
        if not is_key_id(wrapped.kek_version) or pinned not in (None, wrapped.kek_version):
            raise foreign_version(wrapped)
        if wrapped.algorithm != ALGORITHM:
            raise foreign_algorithm(wrapped)
        if not 0 < len(wrapped.data) <= LONGEST_WRAPPING:
            raise TamperedError(f"{wrapped.kek_uri}: {len(wrapped.data)} bytes are not a wrapped DEK")

    def newest_version(self, kek_uri: str) -> str | None:
        """Return the id of the key that an alias leads to now; ``None`` with a key's own ARN."""
        arn = self._identify(kek_uri)
        if arn.key is not None:
            return None
        return _key_of(self._describe(arn), arn)

    def check(self, kek_uri: str) -> None:
        """Refuse a key of the wrong kind, and try it.

        Raises:
            ConfigurationError: it is not symmetric, not for encryption, or there is none.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        metadata = self._described(kek_uri).metadata
        spec, usage = metadata.get("KeySpec", ALGORITHM), metadata.get("KeyUsage", "ENCRYPT_DECRYPT")
        if (spec, usage) != (ALGORITHM, "ENCRYPT_DECRYPT"):
            raise ConfigurationError(
                f"{kek_uri} cannot serve as a KEK: it has to be a symmetric key for encryption"
            )
        super().check(kek_uri)

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Refuse a key that does not exist, before anything is wrapped by it. This provider makes none.

        Raises:
            ConfigurationError: there is no such key.
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        self._described(kek_uri)

    def owners(self, kek_uri: str, tag: str) -> Owners | None:
        """Return whether the key's policy lets the application use the key for this tenant alone.

        KMS itself refuses any other then, so no tag is needed: a random value is wrapped for the tenant, and
        for one that nobody is, which has to be refused. Only a provider of :meth:`for_tenant` can tell.

        Raises:
            KeyRevoked, KeyUnavailable, CredentialError: as for :meth:`wrap`.
        """
        tenant = self._context.get(TENANT)
        if tenant is None:
            return None
        names_it = self.may_wrap_for(tenant, kek_uri) and not self.may_wrap_for(token_hex(), kek_uri)
        return Owners(frozenset({tag_word(tenant)} if names_it else ()))

    def may_wrap_for(self, tenant: str, kek_uri: str) -> bool:
        """Return whether the key's policy lets the application wrap for a tenant; a random value is."""
        try:
            self.for_tenant(tenant).wrap(kek_uri, Secret(token_bytes(DEK_BYTES)))
        except NotPermitted:
            return False
        return True

    def onboarding(self, kek_uri: str, request: OnboardingRequest) -> KekOnboarding:
        """Return what the key's owner has to do, and whether it was done."""
        arn = self._identify(kek_uri)
        return KmsOnboarding(self, arn, request, lambda: self._describe(arn).metadata)

    def health_checks(self, kek_uri: str) -> list[Finding]:
        """Check what a KEK of a customer should be."""
        findings = super().health_checks(kek_uri)
        if any(one.level is Level.PROBLEM for one in findings):
            return findings
        try:
            manager = self._describe(self._identify(kek_uri)).metadata.get("KeyManager")
        except CmkError as error:
            what = f"not everything could be checked: {error}"
            return [*findings, Finding(Level.WARNING, kek_uri, what, "try again")]
        if manager == "AWS":
            what = "the key is managed by AWS: nobody can disable it"
            findings.append(Finding(Level.WARNING, kek_uri, what, "assign a customer managed key"))
        return findings

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    def _identify(self, kek_uri: str) -> KeyArn:
        arn = parse_arn(kek_uri)
        if arn is None:
            raise ConfigurationError(
                f"'{shown(kek_uri)}' is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID, or "
                "...:alias/NAME"
            )
        if not self._trusts(arn):
            raise ConfigurationError(
                f"'{shown(kek_uri)}' is a key of another account: add it to AwsKmsProvider(accounts=[...])"
            )
        return arn

    def _trusts(self, arn: KeyArn) -> bool:
        return self._accounts is None or arn.account in self._accounts

    def _describe(self, arn: KeyArn) -> Answer:
        return self._clients.ask(str(arn), arn, "DescribeKey", lambda: {"KeyId": str(arn)})

    def _described(self, kek_uri: str) -> Answer:
        """Return the description of a key that nothing needs yet: one that is not there never was."""
        try:
            return self._describe(self._identify(kek_uri))
        except NoSuchKey:
            missing = f"{kek_uri}: there is no such key or alias: check the ARN"
        raise ConfigurationError(missing)


def _key_of(answer: Answer, asked: KeyArn) -> str:
    """Return the id of the key that has answered, which is beside the one that was asked."""
    found = parse_arn(answer.key_arn)
    if found is None or found.key is None or found != asked.of_key(found.key):
        raise KeyUnavailable(f"{asked}: the answer is about another key: it is not KMS that has answered")
    return found.key


def _check_endpoint(url: object) -> None:
    if url is None:
        return
    parts = urlsplit(str(url))
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError("endpoint_url has to begin with https://: DEKs are sent there")
