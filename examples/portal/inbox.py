"""What the clinic application has announced to the customers, once its signature was verified."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy_cmk import verify_webhook

KEPT = 40


class Inbox:
    """The events that each customer was told, each once: a message may come twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def receive(self, name: str, headers: Mapping[str, str], body: bytes, secret: str) -> None:
        """Take a message for a customer.

        Raises:
            UnverifiedWebhook: the clinic application has not signed it.
        """
        event = verify_webhook(headers, body, secret)
        with self._lock:
            self._events[name].setdefault(event["id"], event["data"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the newest events of a customer's key, the newest first."""
        with self._lock:
            found = list(self._events[name].values())
        return sorted(found, key=lambda one: one["seq"], reverse=True)[:KEPT]
