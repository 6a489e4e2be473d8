"""The findings of a health check. See :mod:`sqlalchemy_cmk.doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyLocked,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of ``cmk doctor``.

    Attributes:
        level: how serious it is.
        subject: what was checked: a KEK's URI, or a column.
        what: what was found.
        remedy: what to do about it; empty if nothing has to be done.
    """

    level: Level
    subject: str
    what: str
    remedy: str = ""


_REMEDIES: tuple[tuple[type[CmkError], str], ...] = (
    (KeyLocked, "find out why it was locked, then let its keys be used again: cmk unlock"),
    (KeyRevoked, "ask its owner to give access back: what is sealed under it opens again by itself then"),
    (
        CredentialError,
        "renew the application's own sign-in or PIN: the KEK's owner has taken nothing away",
    ),
    (
        KeyUnavailable,
        "check the network and the service: open DEKs serve until outage_grace is over",
    ),
    (TamperedError, "find out who can write to the key tables, and restore these rows from a backup"),
    (ConfigurationError, "correct it, or move its tenants to another KEK: cmk assign --from-kek"),
)


def remedy_for(error: CmkError) -> str:
    """Return what to do about a KEK that fails with an error."""
    return next((remedy for kind, remedy in _REMEDIES if isinstance(error, kind)), "")
