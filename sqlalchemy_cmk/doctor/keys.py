"""Checks of a keyring: its tables, its KEKs and its audit trail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KekNotOwned, TamperedError
from sqlalchemy_cmk.findings import Finding, Level, remedy_for
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.kek_uses import KekQuestions, KekUse
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.storage.database import MAKE_TABLES
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.providers.uris import escaped, shown
from sqlalchemy_cmk.runtime.because import calls_about, doing
from sqlalchemy_cmk.scope import PLATFORM_TENANT

_NAMED = 5


class KeyChecks:
    """Checks everything a keyring depends on; nothing is changed, but KEKs that were asked are noted.

    Args:
        keyring: the keyring.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._store = keyring.store
        self._asked: Mapping[str, str] = {}

    def findings(self) -> list[Finding]:
        """Return the findings; without key tables, only of the checks that do not need them."""
        tables = list(self._tables())
        if any(finding.level is Level.PROBLEM for finding in tables):
            kek_uri = self._keyring.platform_key
            return [*tables, *self._keks({kek_uri: PLATFORM_TENANT})[kek_uri]]
        found = [*tables, *self._record_key(), *self._tenants(), *self._requests(), *self._trail()]
        found += self._events()
        self._note_calls()
        return found

    def _tables(self) -> Iterator[Finding]:
        try:
            missing = self._keyring.database.missing()
        except (SQLAlchemyError, OSError) as error:
            yield Finding(
                Level.PROBLEM,
                "key tables",
                f"the database cannot be reached: {type(error).__name__}",
                "check the engine's URL, the network, and the account's rights",
            )
            return
        if missing:
            what = f"not in the database: {', '.join(missing)}"
            yield Finding(Level.PROBLEM, "key tables", what, MAKE_TABLES)
        else:
            yield Finding(Level.OK, "key tables", "are all there")

    def _record_key(self) -> Iterator[Finding]:
        keys = self._keyring.record_keys
        if keys is None:
            remedy = (
                "make one with openssl rand -base64 32, keep it outside the database, give "
                "Keyring(record_key=...) its place, and run cmk record-key adopt"
            )
            problem = "there is none: anyone who can write to the database can change whose keys are whose"
            yield Finding(Level.PROBLEM, "record key", problem, remedy)
            return
        try:
            if self._store.is_authenticated():
                keys.current()
        except CmkError as error:
            remedy = (
                "give the keyring the record key that authenticated the tables; where it is lost, look at "
                "cmk status, and then run cmk record-key adopt"
            )
            yield Finding(Level.PROBLEM, "record key", str(error), remedy)
            return
        yield Finding(Level.OK, "record key", f"is in {keys.origin}")

    def _tenants(self) -> Iterator[Finding]:
        """Check every tenant's keys, and every KEK that is in use.

        A KEK of tenants that are shredded or locked, and of no others, is not asked.
        """
        tenants = locked = wrong = 0
        versions: dict[str, dict[str, Finding]] = {self._keyring.platform_key: {}}
        served = defaultdict[str, set[str]](set, {self._keyring.platform_key: {PLATFORM_TENANT}})
        keys = self._keyring.keys
        questions = KekQuestions(keys.wrapper, keys.observations, newest=False)
        try:
            for page in self._store.pages():
                living = [one for _, one in page if isinstance(one, TenantKeys) and _is_living(one)]
                tenants += len(living)
                locked += sum(map(_is_locked, living))
                for one in living:
                    if _is_locked(one):
                        continue
                    versions.setdefault(one.tenant.kek_uri, {})
                    served[one.tenant.kek_uri].add(one.tenant.name)
                for use in questions.uses(living):
                    versions.setdefault(use.kek_uri, {})[use.version] = _unwrapped(use)
                    served[use.kek_uri].add(use.tenant)
                for error in (one for _, one in page if isinstance(one, TamperedError)):
                    wrong += 1
                    remedy = "find out who can write to the key tables, and restore these rows from a backup"
                    yield Finding(Level.PROBLEM, "key tables", str(error), remedy)
        except CmkError as problem:
            yield Finding(Level.PROBLEM, "key tables", str(problem), "make the key tables readable")
        if not wrong:
            unasked = f"; no KEK was asked for the {locked} that are locked" if locked else ""
            yield Finding(Level.OK, "keys of tenants", f"hold together, {tenants} tenants{unasked}")
        not_owned = self._not_owned(served)
        for kek_uri, found in self._keks({one: min(names) for one, names in served.items()}).items():
            # A KEK that is out of reach says the same to all.
            yield from dict.fromkeys([*found, *versions[kek_uri].values(), *not_owned[kek_uri]])

    def _not_owned(self, served: Mapping[str, set[str]]) -> dict[str, list[Finding]]:
        """Return which KEKs do not name, or name no longer, the tenants that they serve."""
        keys = self._keyring.keys
        asked = {kek_uri: keys.ownership.asking(sorted(names), kek_uri) for kek_uri, names in served.items()}
        with doing("doctor"):
            answers = keys.wrapper.calls.results(asked)
        return {kek_uri: list(_refused(kek_uri, answer)) for kek_uri, answer in answers.items()}

    def _keks(self, served: Mapping[str, str]) -> dict[str, list[Finding]]:
        """Return the findings of KEKs, which are asked side by side, each for one tenant that it serves."""
        wrapper, self._asked = self._keyring.keys.wrapper, served
        asked = wrapper.calls.results({one: wrapper.examining(served[one], one) for one in sorted(served)})
        return {kek_uri: self._of_kek(kek_uri, asked[kek_uri]) for kek_uri in sorted(served)}

    def _note_calls(self) -> None:
        """Tell the owners of KEKs why these were asked: in the trail, after that was verified."""
        for kek_uri, tenant in self._asked.items():
            detail = f"doctor, calls {calls_about(kek_uri.encode())}"
            self._keyring.audit.soon(AuditEvent(EventKind.CHECK, tenant, "", kek_uri, detail=detail))

    def _of_kek(self, kek_uri: str, answer: Future[list[Finding]]) -> list[Finding]:
        try:
            found = answer.result()
        except ConfigurationError as error:
            return [Finding(Level.PROBLEM, shown(kek_uri), str(error), "give the keyring a provider for it")]
        except CmkError as error:
            return [Finding(Level.PROBLEM, shown(kek_uri), str(error), remedy_for(error))]
        provider = self._keyring.provider_of(kek_uri)
        if all(one.level is Level.OK for one in found) or not self._made_at_first_use(provider, kek_uri):
            return found
        # A new installation has no key file yet; nothing depends on it, so a problem would be a false alarm.
        remedy = "it wraps nothing yet; if it is only missing, its provider makes it at first use"
        return [
            one if one.level is Level.OK else replace(one, level=Level.WARNING, remedy=remedy)
            for one in found
        ]

    def _made_at_first_use(self, provider: KeyProvider, kek_uri: str) -> bool:
        if type(provider).ensure is KeyProvider.ensure:
            return False
        try:
            return not self._store.is_in_use(kek_uri)
        except CmkError:
            return False

    def _requests(self) -> Iterator[Finding]:
        try:
            found = self._keyring.approvals.pending()
        except CmkError as error:
            yield Finding(
                Level.PROBLEM,
                "requests",
                str(error),
                "find out who can write to the key tables, and refuse the request: cmk refuse",
            )
            return
        for one in found:
            what = f"by {one.requested_by} is {one.state}: {one.operation} of tenant {one.tenant!r}"
            remedy = f"look at it with cmk requests, then cmk approve {one.id} or cmk refuse {one.id}"
            yield Finding(Level.WARNING, f"request {one.id}", escaped(what), remedy)

    def _trail(self) -> Iterator[Finding]:
        try:
            verdict = self._keyring.audit.verify()
        except CmkError as error:
            yield Finding(Level.PROBLEM, "audit trail", str(error), "make the audit tables readable")
            return
        for problem in verdict.problems:
            remedy = (
                "find out who can write to the audit tables, and compare them with a backup; "
                "if they only began without a record key, run cmk record-key adopt"
            )
            yield Finding(Level.PROBLEM, "audit trail", problem, remedy)
        if not verdict.problems:
            held = "every link and every MAC holds" if verdict.authenticated else "every link holds"
            yield Finding(Level.OK, "audit trail", f"{held}, {verdict.rows} rows")

    def _events(self) -> Iterator[Finding]:
        try:
            dead = self._keyring.events.dead(limit=_NAMED + 1)
        except CmkError:  # the findings about the key tables report it
            return
        if dead:
            hooks = sorted(
                {f"{one.webhook or 'any'} of {one.tenant or 'the platform'}" for one in dead[:_NAMED]}
            )
            more = f"{len(dead)}" if len(dead) <= _NAMED else f"more than {_NAMED}"
            what = f"{more} were not delivered and are given up: {escaped(', '.join(hooks))}"
            remedy = "run cmk events list --dead, put the webhooks right, and run cmk events retry"
            yield Finding(Level.WARNING, "key events", what, remedy)


def _is_living(keys: TenantKeys) -> bool:
    return keys.tenant.state is not TenantState.SHREDDED


def _is_locked(keys: TenantKeys) -> bool:
    return keys.tenant.state is TenantState.LOCKED


def _refused(kek_uri: str, answer: Future[dict[str, KekNotOwned]]) -> Iterator[Finding]:
    if isinstance(answer.exception(), CmkError):  # the KEK's own checks report it
        return
    refused = list(answer.result().values())
    if refused:
        others = f"; nor of {len(refused) - 1} more that it serves" if len(refused) > 1 else ""
        remedy = "or move the tenant to a KEK that is theirs: cmk assign"
        yield Finding(Level.WARNING, shown(kek_uri), f"{refused[0]}{others}", remedy)


def _unwrapped(use: KekUse) -> Finding:
    subject = shown(use.kek_uri)
    if use.failure is None:
        return Finding(Level.OK, subject, f"unwraps what its version {escaped(use.version)} has wrapped")
    return Finding(Level.PROBLEM, subject, str(use.failure), remedy_for(use.failure))
