"""What is well and what is not with a keyring: its tables, its KEKs, its trail. See :class:`Examination`."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, fields, replace

from sqlalchemy import Inspector, MetaData, inspect
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys.audit import AuditTrail
from sqlalchemy_cmk.keys.connections import Connections
from sqlalchemy_cmk.keys.model import DekState, TenantState
from sqlalchemy_cmk.keys.store import KeyStore
from sqlalchemy_cmk.keys.tables import make_key_tables
from sqlalchemy_cmk.keys.wrapper import Wrapper
from sqlalchemy_cmk.providers.base import Finding, KeyProvider, Level

MAKE_TABLES = (
    "run metadata.create_all(engine) or the Alembic migration that makes it, after keyring.protect(Base)"
)


@dataclass(frozen=True, slots=True)
class KekUse:
    """A KEK version that wraps DEKs of a tenant.

    Attributes:
        tenant: whose DEKs.
        kek_uri: the KEK.
        version: the version that wraps them.
        newest: the KEK's newest version; ``None`` where its provider cannot tell now.
    """

    tenant: str
    kek_uri: str
    version: str
    newest: str | None

    @property
    def stale(self) -> bool:
        """Whether a rewrap would move the DEKs to another version."""
        return self.newest is not None and self.newest != self.version


class Examination:
    """Looks at what a keyring depends on, and changes nothing; found at ``keyring.examination``.

    Attributes:
        protected: the ``MetaData`` that the keyring protects.
        run: runs a unit of work on the application's database, on a connection of the keyring's own.
    """

    def __init__(
        self,
        platform_key: str,
        prefix: str,
        connections: Connections,
        store: KeyStore,
        wrapper: Wrapper,
        audit: AuditTrail,
        protected: list[MetaData],
    ) -> None:
        self._platform_key = platform_key
        self._prefix = prefix
        self._store = store
        self._wrapper = wrapper
        self._audit = audit
        self.protected = protected
        self.run = connections.run

    def findings(self) -> list[Finding]:
        """Return everything that was looked at; without key tables, only what can be told without them."""
        tables = list(self._tables())
        if any(finding.level is Level.PROBLEM for finding in tables):
            return [*tables, *self._kek(self._platform_key)]
        return [*tables, *self._keks(), *self._trail()]

    def kek_uses(self, tenants: Container[str]) -> list[KekUse]:
        """Return which KEK versions wrap these tenants' DEKs, and each KEK's newest, which is asked once."""
        used = sorted(one for one in self._store.wrapping_versions() if one[0] in tenants)
        newest = {kek_uri: self._newest(kek_uri) for kek_uri in {kek_uri for _, kek_uri, _ in used}}
        return [KekUse(tenant, kek_uri, version, newest[kek_uri]) for tenant, kek_uri, version in used]

    def dek_states(self) -> dict[bytes, DekState]:
        """Return every DEK there is or was, by its id."""
        return self._store.dek_states()

    def _newest(self, kek_uri: str) -> str | None:
        try:
            return self._wrapper.provider_of(kek_uri).newest_version(kek_uri)
        except CmkError:
            return None

    def _tables(self) -> Iterator[Finding]:
        try:
            missing = self.run(lambda connection: _missing(inspect(connection), self._prefix))
        except (SQLAlchemyError, OSError) as error:
            yield Finding(
                Level.PROBLEM,
                "key tables",
                f"the database cannot be reached: {type(error).__name__}",
                "check the engine's URL, the network, and the account's rights",
            )
            return
        for name in missing:
            yield Finding(Level.PROBLEM, name, "is not in the database", MAKE_TABLES)
        if not missing:
            yield Finding(Level.OK, "key tables", "are all there")

    def _keks(self) -> Iterator[Finding]:
        """Examine every KEK on which somebody depends: not those of shredded tenants alone."""
        try:
            living = [line for line in self._store.tenants() if line.state is not TenantState.SHREDDED]
            uris = {line.kek_uri for line in living} | {uri for _, uri, _ in self._store.wrapping_versions()}
        except CmkError as error:
            yield Finding(Level.PROBLEM, "key tables", str(error), "make the key tables readable")
            uris = set()
        for kek_uri in sorted(uris | {self._platform_key}):
            yield from self._kek(kek_uri)

    def _kek(self, kek_uri: str) -> list[Finding]:
        try:
            provider = self._wrapper.provider_of(kek_uri)
        except CmkError as error:
            return [Finding(Level.PROBLEM, kek_uri, str(error), "give the keyring a provider for it")]
        found = provider.examine(kek_uri)
        if all(one.level is Level.OK for one in found) or not self._made_at_first_use(provider, kek_uri):
            return found
        # A new installation has no key file yet; nobody depends on it, and an alarm would be false.
        mend = "nothing is wrapped by it yet; its provider makes it at first use if it is only missing"
        return [
            one if one.level is Level.OK else replace(one, level=Level.WARNING, mend=mend) for one in found
        ]

    def _made_at_first_use(self, provider: KeyProvider, kek_uri: str) -> bool:
        if type(provider).ensure is KeyProvider.ensure:
            return False
        try:
            return kek_uri not in self._store.keks_in_use()
        except CmkError:
            return False

    def _trail(self) -> Iterator[Finding]:
        try:
            verdict = self._audit.verify()
        except CmkError as error:
            yield Finding(Level.PROBLEM, "audit trail", str(error), "make the audit tables readable")
            return
        for problem in verdict.problems:
            mend = "find out who can write to the audit tables, and compare them with a backup"
            yield Finding(Level.PROBLEM, "audit trail", problem, mend)
        if not verdict.problems:
            yield Finding(Level.OK, "audit trail", f"every link holds, {verdict.rows} rows")


def _missing(inspector: Inspector, prefix: str) -> list[str]:
    """Name the key tables, and the columns of those that exist, that are not there."""
    tables, missing = make_key_tables(MetaData(), prefix), []
    for name in (field.name for field in fields(tables)):
        table = getattr(tables, name)
        if not inspector.has_table(table.name):
            missing.append(f"the table {table.name}")
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        missing += [f"the column {table.name}.{one.name}" for one in table.columns if one.name not in there]
    return missing
