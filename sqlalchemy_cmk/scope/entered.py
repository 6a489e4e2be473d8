"""The scopes that are entered, innermost first, and how a row and the innermost one agree."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import FrameType

from sqlalchemy_cmk.errors import ConfigurationError, TenantMismatch, TenantRequired


class Entered:
    """One scope, from where it is entered to where it is left.

    Attributes:
        tenant: the tenant's name; ``None`` if the scope hides an outer one.
        generator: a generator in whose step the scope was entered by hand, and which has to be running
            where the scope is used; ``None`` for others.
        is_left: whether it was left where it could not be taken away. Nothing is read in it any more.
    """

    __slots__ = ("generator", "is_left", "tenant", "token")

    token: Token[Entered | None]

    def __init__(self, tenant: str | None, generator: FrameType | None = None) -> None:
        self.tenant = tenant
        self.generator = generator
        self.is_left = False

    def refuse_misuse(self) -> None:
        """Refuse a scope that goes on where it should not.

        Raises:
            ConfigurationError: it was left already, or the generator that entered it waits to be resumed.
        """
        if self.is_left:
            raise ConfigurationError(
                f"tenant_scope({self.tenant!r}) was left in another context, or out of turn, and is still in "
                "effect here: nothing is read or written in it. Enter and leave it by one with statement"
            )
        # The frame of a generator that is suspended, or has ended, hangs below no other.
        if self.generator is not None and self.generator.f_back is None:
            raise ConfigurationError(
                f"tenant_scope({self.tenant!r}) was entered in the generator "
                f"{self.generator.f_code.co_qualname}, which has yielded: iterate it as "
                "carry_scope(generator), made inside the scope"
            )


_innermost: ContextVar[Entered | None] = ContextVar("sqlalchemy_cmk_scope", default=None)


def enter(tenant: str | None, generator: FrameType | None = None) -> Entered:
    """Make a scope the innermost one of this context; :func:`leave` takes it away."""
    entered = Entered(tenant, generator)
    entered.token = _innermost.set(entered)
    return entered


def leave(entered: Entered) -> None:
    """Give the outer scope back.

    Raises:
        ConfigurationError: the scope is not the innermost one, or was entered in another context. Until the
            inner ones are left too, they stay in effect; then the outer one does.
    """
    entered.generator = None
    innermost = _innermost.get()
    if innermost is not entered:
        entered.is_left = True
        raise ConfigurationError(
            f"tenant_scope({entered.tenant!r}) is left, but {_named(innermost)} here: leave scopes in the "
            "reverse order, in the thread or task that entered them. Use with statements, and carry_scope() "
            "for work that runs elsewhere"
        )
    _take_away(entered)
    outer = _innermost.get()
    while outer is not None and outer.is_left:
        _take_away(outer)
        outer = _innermost.get()


def _take_away(entered: Entered) -> None:
    is_foreign = False
    try:
        _innermost.reset(entered.token)
    except ValueError:  # Python's own message names neither the scope nor what to do
        is_foreign = entered.is_left = True
    if is_foreign:
        raise ConfigurationError(
            f"tenant_scope({entered.tenant!r}) is left in another context than it was entered in: enter and "
            "leave it in one thread or task, and use carry_scope() for work that runs elsewhere"
        )


def _named(innermost: Entered | None) -> str:
    if innermost is None:
        return "no scope is entered"
    return f"another one, tenant_scope({innermost.tenant!r}), is the innermost"


def current_tenant() -> str | None:
    """Return the tenant of the innermost scope, or ``None`` outside of any.

    Raises:
        ConfigurationError: that scope goes on where it should not; see :meth:`Entered.refuse_misuse`.
    """
    entered = _innermost.get()
    if entered is None:
        return None
    if entered.is_left or entered.generator is not None:
        entered.refuse_misuse()
    return entered.tenant


def agreed_tenant(owner: str | None, where: str) -> str:
    """Return the one tenant that the row and the scope agree upon.

    Args:
        owner: the tenant that the row names; ``None`` if no row is at hand.
        where: ``table.column`` or a table's name, for the message.

    Raises:
        TenantRequired: neither the row nor a scope names a tenant.
        TenantMismatch: both do, and they differ.
    """
    scoped = current_tenant()
    if owner is None:
        if scoped is None:
            raise TenantRequired(
                f"{where}: no tenant is known for this statement: set the row's tenant column, "
                'or run it inside tenant_scope("...")'
            )
        return scoped
    if scoped is not None and scoped != owner:
        raise TenantMismatch(
            f"{where}: the row belongs to tenant {owner!r}, but the scope is tenant_scope({scoped!r})"
        )
    return owner
