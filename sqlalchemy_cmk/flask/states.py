"""A health endpoint: whether the key tables can be read, and how many tenants are in which state.

``app.register_blueprint(health)`` puts it at ``/health/keys``. It answers 200 as long as the key tables can
be read, also while tenants' keys are revoked: that a customer has switched a key off is no reason to take a
server out of service. It asks no KEK. Strangers see counts; see ``CMK(health_details=...)``.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.flask.served import Counts, Served, served_here
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.providers.uris import escaped
from sqlalchemy_cmk.runtime.clock import elapsed

log = logging.getLogger("sqlalchemy_cmk.flask")

health = Blueprint("cmk_health", __name__, url_prefix="/health/keys")

SECONDS_KEPT = 5.0
"""How long a count is answered again: many questions do not make the database count each time."""

MOST_SHOWN = 100
_SHOWN = (TenantState.REVOKED, TenantState.LOCKED, TenantState.SHREDDED)

NOT_STORED = {"Cache-Control": "no-store"}


@health.get("")
def keys() -> ResponseReturnValue:
    """Answer how the keys are."""
    served = served_here()
    try:
        answer = _answer(served)
    except CmkError as error:
        log.warning("health of keys: %s: %s", type(error).__name__, escaped(str(error)))
        return {"status": "unavailable"}, 503, {**NOT_STORED, "Retry-After": str(int(SECONDS_KEPT))}
    return answer, 200, NOT_STORED


def _answer(served: Served) -> dict[str, Any]:
    counts = _counts(served)
    answer: dict[str, Any] = {"status": "ok", "tenants": _sum(counts)}
    if served.details_for is not None and current_app.ensure_sync(served.details_for)() is True:
        answer["dry_run"] = served.keyring.dry_run is not None
        answer["databases"] = counts
        answer["not_ok"] = [] if answer["dry_run"] else _not_ok(served)
    return answer


def _counts(served: Served) -> Counts:
    """Return how many tenants of each database are in each state."""
    now, known = elapsed(), served.counted
    if known is None or now - known[0] >= SECONDS_KEPT:
        known = served.counted = now, _read(served)
    return known[1]


def _read(served: Served) -> Counts:
    if served.keyring.dry_run is not None:
        return {}  # it has no key tables
    return {
        name: {str(state): count for state, count in keyring.count().items()}
        for name, keyring in served.keyrings().items()
    }


def _sum(counts: Counts) -> dict[str, int]:
    return {
        str(state): sum(one.get(str(state), 0) for one in counts.values())
        for state in (TenantState.OK, *_SHOWN)
    }


def _not_ok(served: Served) -> list[dict[str, str | None]]:
    return [
        {
            "database": name,
            "tenant": line.tenant,
            "state": str(line.state),
            "reason": line.reason,
            "since": None if line.state_since is None else line.state_since.isoformat(),
        }
        for name, keyring in served.keyrings().items()
        for state in _SHOWN
        for line in keyring.status(state=state, limit=MOST_SHOWN)
    ]
