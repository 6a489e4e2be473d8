"""A key event as a CloudEvent: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md."""

from __future__ import annotations

import msgspec

from sqlalchemy_cmk.keys.events.key_event import KeyEvent

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE = "sqlalchemy_cmk.key."


def cloud_event(event: KeyEvent, source: str) -> bytes:
    """Return an event as a CloudEvent 1.0 in JSON. It is the same at each attempt, so that its id is too.

    Args:
        event: the event.
        source: names the application.
    """
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": source,
            "type": f"{TYPE}{event.kind}",
            "subject": event.tenant or "(platform)",
            "time": event.time.isoformat(),
            "datacontenttype": "application/json",
            "data": {
                "kind": str(event.kind),
                "tenant": event.tenant,
                "kek_uri": event.kek_uri,
                "kek_version": event.kek_version,
                "reason": event.reason,
                "actor": event.actor,
                "seq": event.seq,
                "recorded_as": str(event.recorded_as),
            },
        }
    )
