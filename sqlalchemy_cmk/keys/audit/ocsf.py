"""Rows of an export as events of the Open Cybersecurity Schema Framework (https://schema.ocsf.io/1.3.0).

Each is an event of the class API Activity. What was exported stands whole in ``unmapped``: that is what is
checked, and the other fields are compared with what this module makes of it.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.audit.events import EventKind

VERSION = "1.3.0"
CATEGORY, CLASS = 6, 6003
CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4
SUCCESS, FAILURE = 1, 2
INFORMATIONAL, MEDIUM, HIGH = 1, 3, 4

# What is in neither table is an update, and of no special weight.
_ACTIVITIES: dict[str, int] = {
    EventKind.WRAP: CREATE,
    EventKind.UNWRAP: READ,
    EventKind.CHECK: READ,
    EventKind.RIDE_OUT: READ,
    EventKind.REVOKED: READ,
    EventKind.RESTORED: READ,
    EventKind.UNAVAILABLE: READ,
    EventKind.EXPIRING: READ,
    EventKind.EXPIRED: READ,
    EventKind.TAMPERED: READ,
    EventKind.REQUESTED: CREATE,
    EventKind.DROP_WRAPPING: DELETE,
    EventKind.DROP_RETIRED: DELETE,
    EventKind.SHRED: DELETE,
}
_SEVERITIES: dict[str, int] = {
    EventKind.REVOKED: MEDIUM,
    EventKind.UNAVAILABLE: MEDIUM,
    EventKind.RIDE_OUT: MEDIUM,
    EventKind.EXPIRING: MEDIUM,
    EventKind.EXPIRED: HIGH,
    EventKind.TAMPERED: HIGH,
    EventKind.TRAIL_BROKEN: HIGH,
}
_FAILURES = (EventKind.REVOKED, EventKind.UNAVAILABLE, EventKind.EXPIRED, EventKind.TAMPERED)
_CALL = re.compile(r"\bcalls? ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}(?:-[0-9a-f]{12})?)")


def of_row(row: AuditEntry) -> dict[str, Any]:
    """Return a row of the trail as an event."""
    call = _CALL.search(row.detail)
    activity = _ACTIVITIES.get(row.event, UPDATE)
    event = _event(row.event, activity, row.at, row.tenant, asdict(row))
    event["actor"] = {"user": {"name": row.actor}}
    event["metadata"] |= {"uid": row.hash, "sequence": row.seq}
    event["message"] = row.detail
    event["severity_id"] = _SEVERITIES.get(row.event, INFORMATIONAL)
    event["src_endpoint"] = {"name": row.origin}
    event["status_id"] = FAILURE if row.event in _FAILURES else SUCCESS
    if call:
        event["api"]["request"] = {"uid": call[1]}
        event["metadata"]["correlation_uid"] = call[1]
    resources = [{"type": "DEK", "uid": row.dek_id}] if row.dek_id else []
    if row.kek_uri:
        resources.append({"type": "KEK", "uid": row.kek_uri, "version": row.kek_version})
    if resources:
        event["resources"] = resources
    return event


def of_end(tenant: str, at: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the last line of an export as an event: that it was exported.

    Args:
        tenant: whose events were exported.
        at: when (ISO 8601, UTC).
        fields: the line's.
    """
    event = _event("export", READ, at, tenant, fields)
    event["actor"] = {"app_name": "sqlalchemy_cmk"}
    event["severity_id"] = INFORMATIONAL
    event["src_endpoint"] = {"name": "sqlalchemy_cmk"}
    event["status_id"] = SUCCESS
    return event


def _event(operation: str, activity: int, at: str, tenant: str, unmapped: dict[str, Any]) -> dict[str, Any]:
    return {
        "activity_id": activity,
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "type_uid": 100 * CLASS + activity,
        "time": int(datetime.fromisoformat(at).timestamp() * 1000),
        "api": {"operation": operation, "service": {"name": "sqlalchemy_cmk"}},
        "metadata": {
            "version": VERSION,
            "product": {"name": "sqlalchemy_cmk", "vendor_name": "sqlalchemy_cmk"},
            "event_code": operation,
            "log_name": "cmk_audit",
            "original_time": at,
            "tenant_uid": tenant,
        },
        "unmapped": unmapped,
    }
