"""Whether a key in a vault was made as the application needs it, step by step. See :class:`Verification`."""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_bytes

from sqlalchemy_cmk.errors import CredentialError, KeyUnavailable
from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.providers.azure.answers import Answer
from sqlalchemy_cmk.providers.azure.commands import Commands
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
from sqlalchemy_cmk.providers.azure.keys import ALGORITHMS, MIN_RSA_BITS, NEEDED, VaultKey
from sqlalchemy_cmk.providers.azure.onboarding.permissions import extra_permissions
from sqlalchemy_cmk.providers.azure.vault import Vault
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest
from sqlalchemy_cmk.providers.onboarding import (
    OnboardingProblem,
    OnboardingStep,
    failed,
    not_reached,
    passed,
    warning,
)
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.runtime.secret import Secret

READ, OWNER, STATE, KIND = "may read the key", "the key names the tenant", "enabled, within its dates", "type"
OPERATIONS, WRAP, UNWRAP = "the key's operations", "may wrap", "may unwrap"
NO_MORE, RECOVERY = "no permission too many", "a deleted key can be recovered"

NETWORK = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})


class Stop(Exception):
    """A step has failed that later ones need."""

    def __init__(self, step: OnboardingStep) -> None:
        super().__init__(step.name)
        self.step = step


class Verification:
    """Checks a key; nothing is changed by it, and nothing is made.

    A random value is wrapped and unwrapped. To see what else the application may do, requests are made that
    cannot succeed: the owner sees them in the vault's log.

    Args:
        vault: the key's vault.
        key: the key.
        commands: say how it should be, and how it is corrected.
    """

    def __init__(self, vault: Vault, key: KeyIdentifier, commands: Commands) -> None:
        self._vault = vault
        self._key = key
        self._commands = commands
        self._probe = Secret(token_bytes(DEK_BYTES))

    def steps(self) -> list[OnboardingStep]:
        """Return every step, in order."""
        checks: dict[str, Callable[[VaultKey], OnboardingStep]] = {
            **({OWNER: self._owner} if self._commands.tags else {}),
            STATE: self._state,
            KIND: self._kind,
            OPERATIONS: self._operations,
            WRAP: self._wrap,
            UNWRAP: self._unwrap,
            NO_MORE: self._no_more,
            RECOVERY: self._recovery,
        }
        done: list[OnboardingStep] = []
        try:
            found = self._read()
            self._commands = self._commands.knowing(found)
            done.append(passed(READ, "the vault answers"))
            for check in checks.values():
                done.append(check(found))
        except Stop as stop:
            done.append(stop.step)
        return [*done, *not_reached(list({READ: None, **checks})[len(done) :])]

    def _read(self) -> VaultKey:
        answer = self._ask(READ, VaultRequest("GET", self._key.at(self._key.version)))
        if answer.status == 200:
            try:
                return VaultKey.read(answer.body, self._key)
            except KeyUnavailable as error:
                raise Stop(_unreachable(READ, error)) from None
        if answer.status in (404, 409):
            raise Stop(self._missing(answer))
        self._refuse_network(READ, answer)
        raise Stop(
            failed(
                READ,
                OnboardingProblem.MAY_NOT_GET,
                f"get: {answer.status} {answer.code}",
                self._commands.assign_role(),
            )
        )

    def _missing(self, answer: Answer) -> OnboardingStep:
        deleted = answer.status == 409 or (
            self._ask(READ, VaultRequest("GET", f"deletedkeys/{self._key.name}")).status == 200
        )
        if deleted:
            return failed(READ, OnboardingProblem.DELETED, "the key is deleted", self._commands.recover_key())
        seen = f"the vault has no key {self._key.name}" + (" of this version" if self._key.version else "")
        return failed(READ, OnboardingProblem.NO_SUCH_KEY, seen, self._commands.make_key())

    def _owner(self, key: VaultKey) -> OnboardingStep:
        request = self._commands.request
        value = key.tags.get(str(request.tag), "")
        if Owners.read(value).include(request.tenant):
            return passed(OWNER, f"{request.tag} has {request.tag_value}")
        # Somebody else's key: neither whose it is nor anything more of it is for this tenant to learn.
        seen = f"the tag {request.tag} {'names somebody else' if value else 'is missing'}"
        raise Stop(failed(OWNER, OnboardingProblem.NOT_OWNED, seen, self._commands.tag_key()))

    def _state(self, key: VaultKey) -> OnboardingStep:
        now, commands = time.time(), self._commands
        if not key.enabled:
            enable = commands.change_key("--enabled", "true")
            raise Stop(failed(STATE, OnboardingProblem.DISABLED, "the key is disabled", enable))
        if key.expires is not None and now >= key.expires:
            seen = f"it expired on {_day(key.expires)}"
            raise Stop(failed(STATE, OnboardingProblem.EXPIRED, seen, commands.rotate_key()))
        if key.not_before is not None and now < key.not_before:
            seen = f"it is valid from {_day(key.not_before)}"
            raise Stop(failed(STATE, OnboardingProblem.NOT_YET_VALID, seen, commands.begin_now()))
        return passed(STATE, f"until {_day(key.expires)}" if key.expires is not None else "without an end")

    def _kind(self, key: VaultKey) -> OnboardingStep:
        seen = f"{key.kty} of {key.bits} bits" if key.bits else key.kty
        make = self._commands.make_key()
        if key.kty not in ALGORITHMS:
            raise Stop(failed(KIND, OnboardingProblem.WRONG_KIND, seen, make))
        if key.kty != "oct-HSM" and key.bits < MIN_RSA_BITS:
            raise Stop(failed(KIND, OnboardingProblem.WRONG_SIZE, seen, make))
        return passed(KIND, seen)

    def _operations(self, key: VaultKey) -> OnboardingStep:
        restrict = self._commands.restrict_key()
        if key.operations and (missing := sorted(NEEDED - key.operations)):
            seen = f"{' and '.join(missing)} is not among them"
            raise Stop(failed(OPERATIONS, OnboardingProblem.WRONG_OPERATIONS, seen, restrict))
        if extra := sorted(key.operations - NEEDED):
            seen = f"it may also be used to {', '.join(extra)}"
            return warning(OPERATIONS, OnboardingProblem.EXTRA_OPERATIONS, seen, restrict)
        return passed(OPERATIONS, "wrapKey and unwrapKey")

    def _wrap(self, key: VaultKey) -> OnboardingStep:
        self._wrapped = self._use(key, WRAP, "wrapKey", self._probe, OnboardingProblem.MAY_NOT_WRAP)
        return passed(WRAP, "a random value was wrapped")

    def _unwrap(self, key: VaultKey) -> OnboardingStep:
        opened = self._use(key, UNWRAP, "unwrapKey", self._wrapped, OnboardingProblem.MAY_NOT_UNWRAP)
        if opened != self._probe:
            seen = "the vault unwraps to something else than was wrapped"
            raise Stop(failed(UNWRAP, OnboardingProblem.CANNOT_SERVE, seen, self._commands.make_key()))
        return passed(UNWRAP, "and unwrapped again")

    def _use(
        self, key: VaultKey, step: str, operation: str, value: Secret, problem: OnboardingProblem
    ) -> Secret:
        path = f"{self._key.at(key.version)}/{operation.lower()}"
        answer = self._ask(step, VaultRequest("POST", path, {"alg": ALGORITHMS[key.kty]}, value))
        result = answer.value() if answer.status == 200 else None
        if result is not None:
            return result
        self._refuse_network(step, answer)
        seen, commands = f"{operation}: {answer.status} {answer.code}", self._commands
        if answer.status == 403 and answer.code == "KeyDisabled":
            enable = commands.change_key("--enabled", "true")
            raise Stop(failed(step, OnboardingProblem.DISABLED, seen, enable))
        if answer.status == 403:
            raise Stop(failed(step, problem, seen, commands.assign_role()))
        kind = OnboardingProblem.WRONG_SIZE if key.kty == "oct-HSM" else OnboardingProblem.CANNOT_SERVE
        raise Stop(failed(step, kind, seen, commands.make_key()))

    def _no_more(self, key: VaultKey) -> OnboardingStep:
        extra = [name for name, request in extra_permissions(self._key, key.version) if self._may(request)]
        if not extra:
            return passed(NO_MORE, "it was refused whatever else was tried")
        seen = f"the application may also {', '.join(extra)}"
        return warning(NO_MORE, OnboardingProblem.EXTRA_PERMISSIONS, seen, self._commands.show_roles())

    def _may(self, request: VaultRequest) -> bool:
        answer = self._ask(NO_MORE, request)
        # What only the key forbids, its owner's role allows.
        return answer.status != 403 or answer.code in ("KeyOperationForbidden", "KeyDisabled")

    def _recovery(self, key: VaultKey) -> OnboardingStep:
        protect = self._commands.protect()
        if "Recoverable" not in key.recovery:
            seen = "soft delete is off, or the vault does not say"
            return failed(RECOVERY, OnboardingProblem.NO_SOFT_DELETE, seen, protect)
        if "Purgeable" in key.recovery:
            seen = "purge protection is off"
            return failed(RECOVERY, OnboardingProblem.NO_PURGE_PROTECTION, seen, protect)
        return passed(RECOVERY, "soft delete and purge protection are on")

    def _ask(self, step: str, request: VaultRequest) -> Answer:
        try:
            answer = self._vault.send(request)
        except CredentialError as error:
            raise Stop(self._no_sign_in(step, str(error))) from None
        except KeyUnavailable as error:
            raise Stop(_unreachable(step, error)) from None
        if answer.status == 401:
            raise Stop(self._no_sign_in(step, f"{answer.status} {answer.code}"))
        return answer

    def _no_sign_in(self, step: str, seen: str) -> OnboardingStep:
        cure = "renew the application's secret or certificate"
        if self._commands.request.other_directory:
            cure = self._commands.let_in()
        return failed(step, OnboardingProblem.SIGN_IN, seen, cure)

    def _refuse_network(self, step: str, answer: Answer) -> None:
        if answer.code in NETWORK:
            problem, cure = OnboardingProblem.NETWORK_BLOCKED, self._commands.let_address_in()
            raise Stop(failed(step, problem, f"{answer.status} {answer.code}", cure))


def _unreachable(step: str, error: KeyUnavailable) -> OnboardingStep:
    cure = "check the vault's name, its DNS entry and its private endpoint, and try again"
    return failed(step, OnboardingProblem.UNREACHABLE, str(error), cure)


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
