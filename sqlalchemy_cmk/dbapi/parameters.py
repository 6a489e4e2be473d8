"""The values that a caller gives with a statement, by the parameters of its text. See :class:`Values`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column

from sqlalchemy_cmk.columns.tenants import TenantSource
from sqlalchemy_cmk.errors import TenantMismatch
from sqlalchemy_cmk.sql import Given, Path, Plan
from sqlalchemy_cmk.sql.text import Edit, Key

_MISSING = object()


class WrongParameters(Exception):
    """The values are not those that the text has parameters for: the driver says what is wrong."""


class Values:
    """The values of one execution.

    Args:
        plan: the statement.
        given: what the caller gave: a sequence, a mapping, or ``None``.

    Raises:
        WrongParameters: there are too few or too many.
    """

    def __init__(self, plan: Plan, given: Any) -> None:
        self._plan = plan
        keys = [one.key for one in plan.text.parameters]
        if isinstance(given, Mapping):
            self.known: dict[Key, Any] = dict(given)
        else:
            self.known = dict(enumerate(() if given is None else given))
            if len(self.known) != 1 + max((one for one in keys if isinstance(one, int)), default=-1):
                raise WrongParameters
        if any(key not in self.known for key in keys):
            raise WrongParameters
        # What the criteria ask search indexes instead.
        self.edits: list[Edit] = []

    def of(self, given: Given) -> Any:
        """Return what a statement gives."""
        return given.value if given.number is None else self.known[self.key(given.number)]

    def key(self, number: int) -> Key:
        """Return the key of a parameter."""
        return self._plan.text.parameters[number].key

    def replace(self, number: int, value: Any) -> None:
        """Give a parameter another value."""
        self.known[self.key(number)] = value

    def equal(self, path: Path, column: Column[Any]) -> Any:
        """Return what the criteria say that a column of a row is equal to; ``None`` if they do not.

        The first, where they say it twice.
        """
        for one, given in self._plan.equalities.get(path, ()):
            if one is column:
                return self.of(given)
        return None

    def tenant(self, path: Path, source: TenantSource) -> str | None:
        """Return the tenant that the criteria name for the rows of a path; ``None`` if they name none.

        Raises:
            TenantMismatch: they name several.
        """
        held = [self.of(given) for one, given in self._plan.equalities.get(path, ()) if one is source.column]
        names = {source.name(value) for value in held if value is not None}
        if len(names) > 1:
            raise TenantMismatch(
                f"{source.table.fullname}: the WHERE clause names several tenants: run a statement for each"
            )
        return names.pop() if names else None

    def listed(self, keys: Sequence[Key]) -> Any:
        """Return the values as the driver takes them.

        Args:
            keys: the keys of the parameters that are sent, in the order of the text.
        """
        if keys and isinstance(keys[0], str):
            return {str(key): self.known[key] for key in keys}
        if self._plan.text.style == "dollar":
            return tuple(self.known[key] for key in sorted(set(keys)))
        return tuple(self.known[key] for key in keys)
