"""Who receives key events: the application's callbacks and webhooks, for every engine of a keyring."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy_cmk.keys.events.listeners import Listeners
from sqlalchemy_cmk.keys.events.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Subscribers:
    """The callbacks and the webhooks of a keyring."""

    webhooks: Webhooks
    listeners: Listeners = field(default_factory=Listeners)
