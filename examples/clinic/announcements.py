"""The webhooks that announce events of clinics' keys to the clinics' own application."""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path

from sqlalchemy_cmk import Webhook


class Announcements:
    """Where each clinic receives messages, and what they are signed with.

    Args:
        folder: the data folder, with a file for each clinic's secret: both sides have it.
        clinics: who has an application that listens.

    Attributes:
        portal: the address of the clinics' own application, which begins to listen after this one was made;
            empty until it does.
    """

    def __init__(self, folder: Path, clinics: Collection[str]) -> None:
        self._folder = folder
        self._clinics = clinics
        self.portal = ""

    def of(self, tenant: str) -> list[Webhook]:
        """Return a tenant's webhooks."""
        if not self.portal or tenant not in self._clinics:
            return []
        return [Webhook("portal", f"{self.portal}{tenant}/events", self.secret(tenant), local=True)]

    def secret(self, tenant: str) -> str:
        """Return what signs a clinic's messages; it is made at first use."""
        path = self._folder / f"{tenant}.webhook"
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")
        return path.read_text()
