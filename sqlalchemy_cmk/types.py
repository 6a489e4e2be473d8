"""``EncryptedType``: a column type whose values are stored sealed.

Usage::

    ssn: Mapped[str] = mapped_column(EncryptedType(String(11)))
    email: Mapped[str] = mapped_column(EncryptedType(String(254), deterministic=True), unique=True)
    history: Mapped[dict] = mapped_column(EncryptedType(JSON))

See :class:`~sqlalchemy_cmk.column.SealedColumn` for how a value is sealed and opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from sqlalchemy import Column, Dialect, LargeBinary, Null, event
from sqlalchemy.dialects.mysql import LONGBLOB
from sqlalchemy.types import VARBINARY, TypeDecorator, TypeEngine, to_instance

from sqlalchemy_cmk.codec import Codec, codec_for, is_structured
from sqlalchemy_cmk.column import OnRevoked, SealedColumn
from sqlalchemy_cmk.comparator import SealedComparator
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.marked import MARK, MARK_BYTES, unmarked
from sqlalchemy_cmk.processor import opening_processor
from sqlalchemy_cmk.sealed import Sealed
from sqlalchemy_cmk.sealing import Suite

# Not SQLite: it has no lengths, and would give a VARBINARY(n) the affinity of numbers.
_SIZED = ("mysql", "mariadb", "mssql")
# MySQL and MariaDB allow 65,535 bytes for a whole row, MSSQL 8,000 for a VARBINARY(n).
_LONGEST_SIZED = 8000


class EncryptedType(TypeDecorator[Any]):
    """Stores the values of another type sealed under the row's tenant's DEK.

    Args:
        type_: the SQLAlchemy type of the values, or a dataclass, a msgspec Struct, a Pydantic model, or an
            annotation such as ``list[int]``. Its own checks run before anything is sent.
        deterministic: seal equal values of a tenant to equal bytes (AES-256-SIV), so that ``==``,
            ``in_``, joins, ``distinct``, ``group_by`` and ``unique=True`` work, per tenant. Whoever reads
            the database then sees which values are equal.
        context: what the values are bound to, in place of ``table.column``; pin it before a rename, or to
            join two deterministic columns.
        on_revoked: ``"raise"`` :class:`~sqlalchemy_cmk.KeyRevoked` for a value whose key is revoked, or
            ``"seal"`` to load it as :class:`~sqlalchemy_cmk.Sealed`.
        accept_plaintext: while a column is being adopted, also read what it held before, from rows that are
            not sealed yet; what is written is always sealed. Whoever can write to the database can then put
            a plaintext in a sealed value's place unnoticed: leave it on no longer than the adoption takes.
            ``==`` and ``in_`` of a deterministic column find sealed rows only.
        place: set by the library when the type meets its column; it makes the cache key honest.

    Raises:
        ConfigurationError: values of ``type_`` cannot be sealed, an option is unknown, or plaintexts of
            ``type_`` cannot be read back for certain, and ``accept_plaintext`` asks for it.
    """

    impl = LargeBinary
    cache_ok = True
    comparator_factory = SealedComparator

    def __init__(
        self,
        type_: Any,
        deterministic: bool = False,
        context: str | None = None,
        on_revoked: OnRevoked = "raise",
        accept_plaintext: bool = False,
        place: SealedColumn | None = None,
    ) -> None:
        # Not keyword-only: SQLAlchemy takes a type's cache key from the parameters that could be positional.
        super().__init__()
        if on_revoked not in ("raise", "seal"):
            raise ConfigurationError(f'on_revoked is "raise" or "seal", not {on_revoked!r}')
        if context == "":
            raise ConfigurationError("context is a name, not an empty string")
        self.type_: Any = type_ if is_structured(type_) else to_instance(type_)
        self.deterministic = deterministic
        self.context = context
        self.on_revoked: OnRevoked = on_revoked
        self.accept_plaintext = accept_plaintext
        self.place = place
        self._suite = Suite.SIV if deterministic else Suite.GCM
        self._codec = codec_for(self.type_, canonical=deterministic)
        if accept_plaintext and self._codec.from_plain is None:
            raise ConfigurationError(
                f"accept_plaintext: what a column of {self.type_!r} holds unsealed cannot be read back for "
                "certain: seal its rows in one migration instead"
            )
        if isinstance(self.type_, TypeEngine):
            self.should_evaluate_none = self.type_.should_evaluate_none
            self.hashable = self.type_.hashable
        else:
            self.hashable = False

    def __repr__(self) -> str:
        options = [
            repr(self.type_)
            if isinstance(self.type_, TypeEngine)
            else getattr(self.type_, "__name__", repr(self.type_))
        ]
        options += ["deterministic=True"] if self.deterministic else []
        options += [f"context={self.context!r}"] if self.context else []
        options += [f"on_revoked={self.on_revoked!r}"] if self.on_revoked != "raise" else []
        options += ["accept_plaintext=True"] if self.accept_plaintext else []
        return f"EncryptedType({', '.join(options)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options only: a copy belongs to no column."""
        context = self.context or (self.place.context if self.place else None)
        options = (self.deterministic, context, self.on_revoked, self.accept_plaintext)
        return EncryptedType, (self.type_, *options)

    @property
    def suite(self) -> Suite:
        """The algorithm of the values that are written."""
        return self._suite

    @property
    def codec(self) -> Codec:
        """Python values to plaintext bytes and back."""
        return self._codec

    @property
    def python_type(self) -> type[Any]:
        """The Python type of the values."""
        if isinstance(self.type_, TypeEngine):
            return self.type_.python_type
        return self.type_ if isinstance(self.type_, type) else object

    def attach(self, column: Column[Any]) -> None:
        """Make this the type of one column."""
        self.place = SealedColumn(
            column, self._codec, self._suite, self.context, self.on_revoked, self.accept_plaintext
        )

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return VARBINARY with room for the overhead where the length is known, else a blob."""
        length = self._codec.max_bytes
        if length is not None and dialect.name in _SIZED and length + self._suite.overhead <= _LONGEST_SIZED:
            return dialect.type_descriptor(VARBINARY(length + self._suite.overhead))
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(LONGBLOB())
        return dialect.type_descriptor(LargeBinary())

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return the function that seals one parameter, unless a hook has sealed it with its row at hand."""
        # Plain bytes: every driver takes them, and the memoryview that sqlite3.Binary makes is work for the
        # garbage collector.
        nulls, mark = not self.should_evaluate_none, MARK

        def process(value: Any) -> Any:
            if type(value) is bytes and value.startswith(mark):
                return value[MARK_BYTES:]
            if (value is None and nulls) or isinstance(value, Null):
                return None
            return unmarked(self._placed().seal_in_scope(value))

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the function that opens one stored value."""
        return opening_processor(self._placed())

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Refuse: a literal would put a plaintext into the SQL text.

        Here and not in a processor, whose error SQLAlchemy would wrap in one that shows the value.
        """
        self._refuse_literal()

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        """Refuse: a literal would put a plaintext into the SQL text."""
        self._refuse_literal()

    def compare_values(self, x: Any, y: Any) -> bool:
        """Compare as the wrapped type does; a ``Sealed`` equals one of the same stored bytes only."""
        if isinstance(x, Sealed) or isinstance(y, Sealed):
            return isinstance(x, Sealed) and isinstance(y, Sealed) and x == y
        if isinstance(self.type_, TypeEngine):
            return self.type_.compare_values(x, y)
        return bool(x == y)

    def _refuse_literal(self) -> NoReturn:
        raise UnsupportedOperation(
            "a sealed column's value cannot be rendered as a literal: it would put a plaintext into the SQL "
            "text; execute the statement with bound parameters"
        )

    def _placed(self) -> SealedColumn:
        if self.place is None:
            raise ConfigurationError(
                "this EncryptedType belongs to no column: use the column's own type, "
                "as in literal(x, Model.column.type)"
            )
        return self.place


@event.listens_for(EncryptedType, "before_parent_attach", propagate=True)
def _meet_column(type_: EncryptedType, column: Any) -> None:
    """Give each column a type of its own: a type given to several columns would not know its context."""
    if not isinstance(column, Column):
        return
    if type_.place is not None and type_.place.column is not column:
        own = type_.copy()
        column.type = own
        own.attach(column)
    else:
        type_.attach(column)
