"""Rows of the table of requests, authenticated one by one under the record key. See :class:`RequestRows`.

What a row says is input from an adversary: a row without an authentic MAC is ``TamperedError``, and nothing
of it is acted on. An authentic row that is put back, after its request was used or closed, is found by its
epoch: using a request, and closing one that was approved, changes the tenant's keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState
from sqlalchemy_cmk.keys.approvals.table import make_requests_table
from sqlalchemy_cmk.keys.lifecycle.record_keys import required
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.storage.database import KeyDatabase

USE = "request"
VERSION = 1

# What is authenticated, in this order.
_FIELDS = (
    "id",
    "tenant",
    "operation",
    "arguments",
    "epoch",
    "requested_by",
    "reason",
    "requested_at",
    "expires_at",
    "state",
    "decided_by",
    "decided_at",
    "decision",
)


class RequestRows:
    """Reads and writes requests.

    Args:
        database: the database of the key tables.
        record_keys: they authenticate each row.
    """

    def __init__(self, database: KeyDatabase, record_keys: RecordKeys | None) -> None:
        self._database = database
        self._record_keys = record_keys
        self._table = database.tables_of(make_requests_table)

    def find(self, request_id: str) -> Request | None:
        """Return a request by its id.

        Raises:
            TamperedError: its row is not authentic.
        """
        found = self._read(self._table.c.id == request_id)
        return found[0] if found else None

    def open(self, tenant: str | None = None, operation: str | None = None) -> list[Request]:
        """Return the open requests, oldest first: those of a tenant, or all.

        Raises:
            TamperedError: a row is not authentic.
        """
        c = self._table.c
        criteria: list[ColumnElement[bool]] = [c.open_slot == 1]
        if tenant is not None:
            criteria.append(c.tenant == tenant)
        if operation is not None:
            criteria.append(c.operation == operation)
        return [one for one in self._read(*criteria) if one.state.is_open]

    def columns(self, request: Request) -> dict[str, Any]:
        """Return a request's columns, authenticated. Not in a transaction: a record key may come from far."""
        values = _values(request)
        key = required(self._record_keys).current()
        return {
            **values,
            "key_id": key.id,
            "mac": key.mac(USE, _message(values)).hex(),
            "fingerprint": request.fingerprint,
            "open_slot": 1 if request.state.is_open else None,
        }

    def add(self, connection: Connection, columns: Mapping[str, Any]) -> None:
        """Add a request.

        Raises:
            IntegrityError: another process has asked for the same.
        """
        connection.execute(insert(self._table).values(columns))

    def change(self, connection: Connection, was: RequestState, columns: Mapping[str, Any]) -> bool:
        """Write what a request has become; ``False`` if another process was first."""
        c = self._table.c
        same = c.id == columns["id"], c.state == was.value
        return connection.execute(update(self._table).where(*same).values(columns)).rowcount == 1

    def _read(self, *criteria: ColumnElement[bool]) -> list[Request]:
        c = self._table.c
        wanted = [c[name] for name in (*_FIELDS, "key_id", "mac")]
        query = select(*wanted).where(*criteria).order_by(c.requested_at, c.id)
        try:
            rows: Any = self._database.run(lambda connection: connection.execute(query).mappings().all())
        except UnicodeDecodeError:  # its message quotes the bytes
            rows = None
        if rows is None:
            raise TamperedError("the table of requests holds bytes that are not text: it was altered")
        return [self._verified(dict(row)) for row in rows]

    def _verified(self, row: Mapping[str, Any]) -> Request:
        values = {name: row[name] for name in _FIELDS}
        key = required(self._record_keys).find(str(row["key_id"]))
        if key is None or not key.verifies(USE, _message(values), _bytes(row["mac"])):
            raise TamperedError(
                f"request {values['id']!r} was not written by this application, or was altered: find out who "
                "can write to the table of requests, and delete this row"
            )
        decided_at = values["decided_at"]
        return Request(
            **values
            | {
                "requested_at": datetime.fromisoformat(values["requested_at"]),
                "expires_at": datetime.fromisoformat(values["expires_at"]),
                "state": RequestState(values["state"]),
                "decided_at": datetime.fromisoformat(decided_at) if decided_at else None,
            }
        )


def _values(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(request, name) for name in _FIELDS}
    for name in ("requested_at", "expires_at", "decided_at"):
        values[name] = values[name].isoformat() if values[name] else ""
    return values | {"state": request.state.value}


def _message(values: Mapping[str, Any]) -> bytes:
    # What a database holds of another type gives other bytes.
    return json.dumps([VERSION, *(values[name] for name in _FIELDS)], default=repr).encode()


def _bytes(mac: object) -> bytes:
    try:
        return bytes.fromhex(mac) if isinstance(mac, str) else b""
    except ValueError:
        return b""
