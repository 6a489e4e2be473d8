"""A value that cannot be opened now. See :class:`Sealed`."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy_cmk.errors import KeyRevoked


class Sealed:
    """Stands for a value whose key has been revoked, in columns with ``on_revoked="seal"``.

    It shows its tenant and the reason, never bytes. Written back unchanged it keeps the stored bytes;
    any use as a value raises :class:`KeyRevoked`.

    Attributes:
        tenant: whose key is gone.
        context: the column's context.
        reason: why it cannot be opened.
        identity: the row that it is bound to; empty if the column is not row-bound.
    """

    __slots__ = ("_stored", "context", "identity", "reason", "tenant")

    def __init__(self, tenant: str, context: str, reason: str, stored: bytes, identity: bytes = b"") -> None:
        self.tenant = tenant
        self.context = context
        self.reason = reason
        self._stored = stored
        self.identity = identity

    def __repr__(self) -> str:
        return f"<Sealed {self.context} of tenant {self.tenant!r}: {self.reason}>"

    def __str__(self) -> str:
        return f"sealed: the key of {self.tenant!r} is revoked"

    def __format__(self, spec: str) -> str:
        try:
            return format(str(self), spec)
        except ValueError:  # the format of a number or a date
            pass
        self._refuse()

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, Sealed):
            return isinstance(other, Sealed) and self._stored == other._stored
        self._refuse()

    def __hash__(self) -> int:
        return hash(self._stored)

    def _refuse(self, *_: object) -> NoReturn:
        raise KeyRevoked(f"{self.context}: the value is sealed ({self.reason})")

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = (
        _refuse
    )
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refuse
    __int__ = __float__ = __index__ = __bytes__ = __neg__ = __pos__ = __invert__ = __abs__ = _refuse
    __call__ = __round__ = _refuse

    @property
    def _parents(self) -> dict[Any, Any]:
        """Nothing is tracked of what ``sqlalchemy.ext.mutable`` finds here when objects are pickled."""
        return {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()


def stored_bytes(sealed: Sealed) -> bytes:
    """Return the bytes that a ``Sealed`` stands for, to write them back."""
    return sealed._stored
