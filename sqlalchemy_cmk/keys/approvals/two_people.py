"""What ``Keyring(two_people=)`` makes for one database. See :class:`TwoPeople`."""

from __future__ import annotations

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.approvals.approvals import Approvals
from sqlalchemy_cmk.keys.approvals.guard import Guard
from sqlalchemy_cmk.keys.approvals.rows import RequestRows
from sqlalchemy_cmk.keys.approvals.steps import Steps
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.binding.settings import Settings
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.storage.database import KeyDatabase
from sqlalchemy_cmk.keys.storage.store import KeyStore


class TwoPeople:
    """The guard of one database's keys, and its requests.

    Args:
        database: the database of the key tables.
        store: has the tenants' keys.
        audit: knows who acts, and records each step.
        record_keys: they authenticate requests.
        settings: the keyring's.

    Attributes:
        guard: stops operations that need a second person.
        approvals: what people do with requests.

    Raises:
        ConfigurationError: an operation needs a second person, and there is no record key.
    """

    def __init__(
        self,
        database: KeyDatabase,
        store: KeyStore,
        audit: AuditTrail,
        record_keys: RecordKeys | None,
        settings: Settings,
    ) -> None:
        if settings.two_people and record_keys is None:
            raise ConfigurationError(
                "two_people= needs a record key, since anyone who can write to the database could approve "
                "without one: make one with openssl rand -base64 32, keep it outside the database, and give "
                "Keyring(record_key=...) its place"
            )
        rows = RequestRows(database, record_keys)
        steps = Steps(database, store, audit, rows)
        self.guard = Guard(settings.two_people, settings.request_expiry, audit, rows, steps)
        self.approvals = Approvals(store, rows, steps)
