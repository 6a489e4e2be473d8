"""Key tables written by hand, for tests that need a state which would take hours or another program."""

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind


def adopt(keyring: Keyring) -> None:
    """Authenticate what the key tables hold now, as an operator may."""
    for name in [name for page in keyring.store.pages() for name, _ in page]:
        assert keyring.store.adopt(name, AuditEvent(EventKind.RECORD_KEY, name))
