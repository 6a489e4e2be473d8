"""Asks for a second person where a tenant's keys leave a KEK of its own. See :class:`Leaving`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy_cmk.keys.approvals.guard import Guard, Passed
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.records import TenantKeys


class Leaving:
    """Knows when a change takes a customer's key away from its tenant.

    Args:
        guard: knows whether a second person has to approve.
        platform_key: the KEK that is nobody's own.
    """

    def __init__(self, guard: Guard, platform_key: str) -> None:
        self._guard = guard
        self._platform_key = platform_key

    def passed(self, keys: TenantKeys, left: Collection[str], arguments: Mapping[str, Any]) -> Passed:
        """Return that the change may go on; see :meth:`Guard.passed`.

        Args:
            keys: the tenant's keys.
            left: the KEKs that will wrap its DEKs no more, or no longer alone.
            arguments: all that decides what will be done.
        """
        customers = sorted(set(left) - {self._platform_key})
        if not customers or not keys.stored:
            return Passed()
        return self._guard.passed(keys, EventKind.ASSIGN, {**arguments, "leaves": customers})

    def joined(self, keys: TenantKeys, kek_uri: str) -> Passed:
        """Return that a KEK may wrap a tenant's DEKs too.

        With the platform's KEK beside it, a customer's own no longer closes the tenant's data.
        """
        if kek_uri != self._platform_key:
            return Passed()
        return self.passed(keys, _keks_of(keys), {"add_wrapping": kek_uri})

    def assigned(self, keys: TenantKeys, kek_uri: str, *, fresh_dek: bool) -> Passed:
        """Return that a tenant may be put under a KEK, and under that one only."""
        return self.passed(keys, _keks_of(keys) - {kek_uri}, {"kek": kek_uri, "fresh_dek": fresh_dek})


def _keks_of(keys: TenantKeys) -> set[str]:
    return {one.kek_uri for dek in keys.living for one in dek.wrappings} | {keys.tenant.kek_uri}
