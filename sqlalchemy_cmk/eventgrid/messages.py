"""What Event Grid posts, in either of its schemas, reduced to what is looked at. See :func:`read_messages`.

https://learn.microsoft.com/azure/event-grid/event-schema-key-vault,
https://learn.microsoft.com/azure/event-grid/webhook-event-delivery
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from sqlalchemy_cmk.providers.azure.identifiers import parse_identifier

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Notice(StrEnum):
    """The events of keys that are followed; others are taken, and nothing is done."""

    NEW_VERSION = "Microsoft.KeyVault.KeyNewVersionCreated"
    NEAR_EXPIRY = "Microsoft.KeyVault.KeyNearExpiry"
    EXPIRED = "Microsoft.KeyVault.KeyExpired"


@dataclass(frozen=True, slots=True)
class KeyNotice:
    """That something has happened to a key. It is a hint: the vault itself is asked what is so.

    Attributes:
        notice: what is said to have happened.
        vault_url: the vault's address.
        name: the key's name.
    """

    notice: Notice
    vault_url: str
    name: str


@dataclass(frozen=True, slots=True)
class Messages:
    """The content of a request.

    Attributes:
        validation_code: what a new subscription wants to be answered; empty if it wants nothing.
        notices: what is said of keys.
    """

    validation_code: str
    notices: tuple[KeyNotice, ...]


class _Event(msgspec.Struct):
    # Event Grid's own schema calls it eventType, CloudEvents type.
    eventType: str = ""
    type: str = ""
    data: Any = None

    @property
    def kind(self) -> str:
        return self.eventType or self.type


def read_messages(body: bytes) -> Messages:
    """Return what a request's body says.

    Args:
        body: one event, or a list of them, as JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        found = msgspec.json.decode(body, type=list[_Event] | _Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("this is not an event of Event Grid") from None
    events = found if isinstance(found, list) else [found]
    codes = [_text(one.data, "validationCode") for one in events if one.kind == VALIDATION]
    notices = [_notice(one) for one in events]
    return Messages(next(iter(codes), ""), tuple(dict.fromkeys(one for one in notices if one is not None)))


def _notice(event: _Event) -> KeyNotice | None:
    if event.kind not in set(Notice):
        return None
    scheme, _, rest = _text(event.data, "Id").partition("://")
    host, _, path = rest.partition("/")
    # Names of hosts are the same in either case; a KEK's URI has them in lower case.
    key = parse_identifier(f"{scheme}://{host.lower()}/{path}")
    return None if key is None else KeyNotice(Notice(event.kind), key.vault_url, key.name)


def _text(data: object, name: str) -> str:
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""
