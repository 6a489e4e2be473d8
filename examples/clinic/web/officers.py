"""Who may look after a tenant's keys: its own security officer, and those who run the platform."""

from __future__ import annotations

from flask import abort

from examples.clinic.clinics import OPERATIONS, TENANTS
from examples.clinic.web.current import identity


def allowed(tenant: str) -> None:
    """Refuse people who do not look after this tenant's keys; they do not learn that it exists."""
    who = identity()
    if who is None or not who.officer or tenant not in TENANTS or who.clinic not in (tenant, OPERATIONS):
        abort(404)


def is_own(tenant: str) -> bool:
    """Return whether the person who is signed in works for this tenant, a customer."""
    who = identity()
    return who is not None and who.clinic == tenant != OPERATIONS
