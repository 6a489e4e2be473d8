"""The options of one sealed column, as one frozen object. See :class:`Scheme`.

``EncryptedType`` makes it; ``repr``, pickling, Alembic's rendering and comparison, the registry and re-keying
read it. A new option is a field here, a parameter of ``EncryptedType``, and the place that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context, Suite
from sqlalchemy_cmk.keys.model import Purpose

OnRevoked = Literal["raise", "seal"]
Owner = Literal["row", "platform"]
# A name of the application's choice; or (table, column) or (schema, table, column) as a column was named.
ContextName = str | tuple[str, ...]
KEYS_COME_FROM = "Keys do not come from the type but from the keyring: Keyring(engine, platform_key=...)"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the values of one column are sealed and opened.

    The fields are the options of :class:`~sqlalchemy_cmk.EncryptedType`, which describes them.

    Raises:
        ConfigurationError: an option is of a wrong type or unknown, or two exclude each other.
    """

    deterministic: bool = False
    context: ContextName | None = None
    on_revoked: OnRevoked = "raise"
    accept_plaintext: bool = False
    owner: Owner = "row"
    row_bound: bool = False
    # Not shown: another library's type may hold its key, and show it.
    accept_legacy: tuple[TypeEngine[Any], ...] = field(default=(), repr=False)
    index: tuple[SearchIndex, ...] = ()

    def __post_init__(self) -> None:
        for name in ("deterministic", "accept_plaintext", "row_bound"):
            if not isinstance(getattr(self, name), bool):
                kind = type(getattr(self, name)).__name__
                raise ConfigurationError(
                    f"EncryptedType: {name} is True or False, not a value of type {kind}. {KEYS_COME_FROM}"
                )
        _choose("on_revoked", self.on_revoked, "raise", "seal")
        _choose("owner", self.owner, "row", "platform")
        if self.context is not None:
            context_named(self.context)
        if self.accept_plaintext and self.accept_legacy:
            raise ConfigurationError(
                "EncryptedType: with accept_legacy a value that no old type opens is an error, with "
                "accept_plaintext it would be read as it is: choose one"
            )
        if self.index and self.is_mixed:
            raise ConfigurationError(
                "EncryptedType: rows that are not sealed yet have no tokens: seal them first, then add the "
                "index"
            )
        if self.deterministic and self.row_bound:
            raise ConfigurationError(
                "EncryptedType: deterministic=True seals equal values alike in all rows, row_bound=True "
                "differently in each: choose one"
            )

    @property
    def suite(self) -> Suite:
        """The algorithm of the values that are written."""
        return Suite.SIV if self.deterministic else Suite.GCM

    @property
    def is_mixed(self) -> bool:
        """Whether the column may hold values that are not sealed yet."""
        return self.accept_plaintext or bool(self.accept_legacy)

    def reads_all_of(self, other: Scheme) -> bool:
        """Return whether what another column may hold unsealed may be in this one, too."""
        plaintext = self.accept_plaintext or not other.accept_plaintext
        return plaintext and set(other.accept_legacy) <= set(self.accept_legacy)

    @property
    def purpose(self) -> Purpose:
        """The purpose of the DEKs that seal the values."""
        return Purpose.of(self.suite)

    def bound_to(self, schema: str | None, table: str, column: str) -> Context:
        """Return the context of this scheme's values in a column."""
        if self.context is not None:
            return context_named(self.context)
        return Context.of_column(schema, table, column)

    def pinned(self, context: Context) -> Scheme:
        """Return this scheme with a context that no longer depends on the column."""
        return replace(self, context=name_of(context))

    def options(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, by name, as ``EncryptedType`` takes them."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def context_named(name: ContextName) -> Context:
    """Return the context that the option ``context=`` names.

    Raises:
        ConfigurationError: it is neither a name nor a tuple of two or three names.
    """
    try:
        if isinstance(name, str):
            return Context.of_name(name)
        if isinstance(name, tuple) and len(name) in (2, 3) and all(isinstance(one, str) for one in name):
            return Context.of_column(name[0] if len(name) == 3 else None, *name[-2:])
        reason = f"not {type(name).__name__}"
    except ValueError as error:
        reason = str(error)
    raise ConfigurationError(
        "EncryptedType: context is a name, or a tuple (table, column) or (schema, table, column) as the "
        f"column was named when its values were sealed: {reason}"
    )


def name_of(context: Context) -> ContextName:
    """Return how the option ``context=`` names a context, the inverse of :func:`context_named`."""
    names = context.names
    if len(names) == 1:
        return names[0]
    return names if names[0] else names[1:]


def _choose(name: str, value: object, *choices: str) -> None:
    if not isinstance(value, str) or value not in choices:
        allowed = " or ".join(f'"{one}"' for one in choices)
        raise ConfigurationError(f"EncryptedType: {name} is {allowed}. {KEYS_COME_FROM}")
