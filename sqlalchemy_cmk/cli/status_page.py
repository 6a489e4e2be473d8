"""One page of ``cmk status``: which tenants it shows, what their KEKs have answered, and what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy_cmk.keys import KekUse, Keyring
from sqlalchemy_cmk.keys.model import TenantState, TenantStatus

Uses = dict[str, list[KekUse]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tenants are wanted.

    Attributes:
        tenant: this one only.
        state: those in this state.
        kek: those of whose DEKs this KEK wraps any.
        after: those whose names come after this one.
        limit: how many at most; 0 for all.
    """

    tenant: str | None
    state: str | None
    kek: str | None
    after: str | None
    limit: int

    @property
    def is_narrowed(self) -> bool:
        """Whether some tenants are left out on purpose."""
        return any(one is not None for one in (self.tenant, self.state, self.kek, self.after))


@dataclass(frozen=True, slots=True)
class StatusPage:
    """The tenants of one page, verified.

    Attributes:
        lines: a line for each.
        next: the name after which the next page begins; ``None`` if this is the last.
        states: how many of all tenants that are wanted are in which state. Where there are other pages they
            are counted in the database and nothing is verified; empty if only reading each one would say.
        whole: whether there is no other page, so that ``states`` counts verified lines.
        uses: by tenant, which KEK versions wrap their DEKs; ``None`` if no KEK was asked.
    """

    lines: list[TenantStatus]
    next: str | None
    states: Counter[TenantState] = field(default_factory=Counter)
    whole: bool = True
    uses: Uses | None = None

    def uses_of(self, line: TenantStatus) -> list[KekUse]:
        """Return the KEK versions that wrap a tenant's DEKs, as far as they were asked."""
        return [] if self.uses is None else self.uses.get(line.tenant, [])


def read_page(keyring: Keyring, choice: Choice, *, stored: bool, newest: bool) -> StatusPage:
    """Read a page, after the KEKs of its tenants were asked: what they answer is part of the state.

    Args:
        keyring: has the keys.
        choice: which tenants are wanted.
        stored: whether no KEK is asked.
        newest: whether each KEK is asked for its newest version too.
    """
    tenants = None if choice.tenant is None else [choice.tenant]
    limit = choice.limit + 1 if choice.limit else None
    lines = keyring.status(tenants, state=choice.state, kek=choice.kek, after=choice.after, limit=limit)
    shown = lines[: choice.limit or None]
    following = shown[-1].tenant if len(lines) > len(shown) else None
    whole = following is None and choice.after is None
    uses = None if stored else _uses(keyring, shown, newest)
    if uses is not None:
        shown = _read_again(keyring, shown, choice.state)
    states = Counter(line.state for line in shown) if whole else _counted(keyring, choice)
    return StatusPage(shown, following, states, whole, uses)


def _uses(keyring: Keyring, lines: list[TenantStatus], newest: bool) -> Uses:
    uses: Uses = {}
    for use in keyring.kek_uses([line.tenant for line in lines], newest=newest):
        uses.setdefault(use.tenant, []).append(use)
    return uses


def _read_again(keyring: Keyring, lines: list[TenantStatus], state: str | None) -> list[TenantStatus]:
    now = {line.tenant: line for line in keyring.status([line.tenant for line in lines])}
    found = [now[line.tenant] for line in lines if line.tenant in now]
    return [line for line in found if state in (None, line.state) or line.state is TenantState.TAMPERED]


def _counted(keyring: Keyring, choice: Choice) -> Counter[TenantState]:
    if choice.state == TenantState.TAMPERED:
        return Counter()
    states = keyring.count(kek=choice.kek)
    return Counter({one: states[one] for one in states if choice.state in (None, one)})
