"""``EncryptedType``: a column type whose values are stored sealed.

Its options are a :class:`~sqlalchemy_cmk.columns.scheme.Scheme`. The hooks, which know the row, seal and open
values; the type's processors do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Column, Dialect, LargeBinary, Null, event
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine, to_instance

from sqlalchemy_cmk.codec import Codec, codec_for, is_structured
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.comparator import SealedComparator
from sqlalchemy_cmk.columns.indexes import SearchIndex, indexes_of
from sqlalchemy_cmk.columns.legacy import LegacyTypes, legacy_types
from sqlalchemy_cmk.columns.nesting import refuse_nesting, sealed_inside
from sqlalchemy_cmk.columns.plain import Plain, plain_type
from sqlalchemy_cmk.columns.presealed import PREFIX, PREFIX_BYTES, Unsealed
from sqlalchemy_cmk.columns.processors import opening_processor
from sqlalchemy_cmk.columns.scheme import KEYS_COME_FROM, ContextName, OnRevoked, Owner, Scheme
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.runtime.kinds import described

# What a subclass must not take over: values would pass it by, or reach SQL unsealed.
_OURS = (
    "process_bind_param",
    "process_result_value",
    "process_literal_param",
    "bind_processor",
    "result_processor",
    "literal_processor",
    "bind_expression",
    "column_expression",
    "load_dialect_impl",
)


class EncryptedType(TypeDecorator[Any]):
    """Stores the values of another type sealed under the row's tenant's DEK.

    A model says whose each row is, and what is sealed; code that uses it stays as it was::

        class Patient(Base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"  # the column that says whose row this is

            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str]
            ssn: Mapped[str] = mapped_column(EncryptedType(String(11)))
            email: Mapped[str] = mapped_column(EncryptedType(String(254), deterministic=True))
            name: Mapped[str] = mapped_column(EncryptedType(String(80), index=[Prefix()]))

    The keys come from a :class:`~sqlalchemy_cmk.Keyring` that serves the engine: ``keyring.protect(Base)``.
    Without one nothing is read or written. What a sealed column cannot be asked is refused, with what to
    write instead.

    Args:
        type_: the SQLAlchemy type of the values, or a dataclass, a msgspec Struct, a Pydantic model, or an
            annotation such as ``list[int]``. Its own checks run before anything is sent.
        deterministic: seal equal values of a tenant to equal bytes (AES-256-SIV), so that ``==``, ``in_``,
            joins, ``distinct``, ``group_by`` and ``unique=True`` work, per tenant. Anyone who can read the
            database then sees which values are equal.
        context: what the values are bound to instead of their schema, table and column: a name, to join two
            deterministic columns; or ``("table", "column")`` or ``("schema", "table", "column")`` as they
            were before a rename.
        on_revoked: ``"raise"`` :class:`~sqlalchemy_cmk.KeyRevoked` for a value whose key is revoked, or
            ``"seal"`` to load it as :class:`~sqlalchemy_cmk.Sealed`.
        accept_plaintext: while a column is being adopted, also read what it held before, from rows that are
            not sealed yet; what is written is always sealed. Anyone who can write to the database can then
            replace a sealed value with a plaintext unnoticed, so remove the option when the adoption is done.
            ``==`` and ``in_`` on a deterministic column find only sealed rows.
        owner: ``"row"``, whose tenant column names the owner; or ``"platform"``, to seal a column of a
            tenant's table under the platform's key. It is then read and compared without a tenant, and
            **still opens after the tenant revokes their key**.
        row_bound: bind each value to its row as well: the primary key, or the columns that ``__cmk_row__``
            names. A value copied to another row raises :class:`~sqlalchemy_cmk.TamperedError`.
        accept_legacy: types of other libraries, ``[StringEncryptedType(String, key)]``: while a column is
            being adopted, the first of these that can opens what is not sealed yet; what is written is always
            sealed. What begins like a sealed value is never passed to them. Anyone who can write to the
            database can replace a sealed value with an old ciphertext of any row, so remove the option when
            the adoption is done. ``==`` and ``in_`` on a deterministic column find only sealed rows.
        index: search indexes, ``[Exact(), Prefix()]``, from :mod:`sqlalchemy_cmk.search`, which add further
            queries. Their tokens are in hidden columns of the table. ``docs/search.md`` says what each
            reveals.
        scheme: all of these options in one object, instead of them; for copies.
        sealed_column: set by the library when the type meets its column; it makes the cache key honest.

    Raises:
        ConfigurationError: values of ``type_`` cannot be sealed, an option is unknown, or plaintexts of
            ``type_`` cannot be read back for certain, and ``accept_plaintext`` asks for it.
    """

    impl = LargeBinary
    cache_ok = True
    comparator_factory = SealedComparator

    if not TYPE_CHECKING:  # which reads the parameters of __init__

        def __new__(cls, *args: Any, **options: Any) -> EncryptedType:
            """Refuse what other libraries' types of this name take, with a word on where keys come from."""
            ours = cls.__init__ is EncryptedType.__init__
            unknown = options.keys() - _PARAMETERS
            if ours and (len(args) > 1 or unknown):
                given = f"the option {min(unknown)!r}" if unknown else "a second argument without a name"
                raise ConfigurationError(
                    f"EncryptedType: {given} means nothing here. The options are named: "
                    f"{', '.join(one.name for one in fields(Scheme))}. {KEYS_COME_FROM}"
                )
            return super().__new__(cls)

    def __init__(
        self,
        type_: Any,
        deterministic: bool = False,
        context: ContextName | None = None,
        on_revoked: OnRevoked = "raise",
        accept_plaintext: bool = False,
        owner: Owner = "row",
        row_bound: bool = False,
        accept_legacy: Sequence[Any] = (),
        index: Sequence[SearchIndex] = (),
        scheme: Scheme | None = None,
        sealed_column: SealedColumn | None = None,
    ) -> None:
        # Not keyword-only: SQLAlchemy takes a type's cache key from the parameters that could be positional.
        super().__init__()
        old = legacy_types(accept_legacy)
        options = Scheme(
            *(deterministic, context, on_revoked, accept_plaintext, owner, row_bound, old), indexes_of(index)
        )
        if scheme is not None and (not isinstance(scheme, Scheme) or options != Scheme()):
            raise ConfigurationError("EncryptedType: scheme is a Scheme in place of all other options")
        self.scheme = scheme or options
        self.type_: Any = _type_of_values(type_)
        self.sealed_column = sealed_column
        self._codec = codec_for(self.type_, canonical=self.scheme.deterministic)
        if self.scheme.accept_plaintext and self._codec.from_plain is None:
            raise ConfigurationError(
                f"accept_plaintext: what a column of {self.type_!r} holds unsealed cannot be read back for "
                "certain: seal its rows in one migration instead"
            )
        self.legacy = LegacyTypes(self.scheme.accept_legacy, self._codec)
        if isinstance(self.type_, TypeEngine):
            self.should_evaluate_none = self.type_.should_evaluate_none
            self.hashable = self.type_.hashable
        else:
            self.hashable = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        overridden = [name for name in _OURS if name in cls.__dict__]
        if overridden:
            raise ConfigurationError(
                f"{cls.__name__}: a subclass of EncryptedType cannot override {overridden[0]}, which would "
                "not be called for each value: convert values in a TypeDecorator of your own and seal that, "
                "EncryptedType(YourType())"
            )

    def __repr__(self) -> str:
        old = ", ".join(type(one).__name__ for one in self.scheme.accept_legacy)
        legacy = [f"accept_legacy=[{old}]"] if old else []
        indexes = [f"index={list(self.scheme.index)!r}"] if self.scheme.index else []
        return f"EncryptedType({', '.join((self._type_text(), *self.option_texts(), *legacy, *indexes))})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options only: a copy belongs to no column, and keeps its context."""
        scheme = self.scheme
        if self.sealed_column is not None and scheme.context is None:
            scheme = scheme.pinned(self.sealed_column.context)
        return _with_scheme, (self.type_, scheme)

    def with_options(self, **options: Any) -> EncryptedType:
        """Return a type of the same values that belongs to no column, with some options changed."""
        return _with_scheme(self.type_, replace(self.scheme, **options))

    def option_texts(self) -> list[str]:
        """Return the options that differ from their defaults, as source text.

        Without ``accept_legacy``: the types of other libraries may show their keys. And without ``index``,
        which says nothing of how values are sealed.
        """
        options = self.scheme.options().items()
        return [f"{name}={value!r}" for name, value in options if name not in ("accept_legacy", "index")]

    def _type_text(self) -> str:
        if isinstance(self.type_, TypeEngine):
            return repr(self.type_)
        return str(getattr(self.type_, "__name__", repr(self.type_)))

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
        self.sealed_column = SealedColumn(column, self._codec, self.scheme, self.legacy)

    def with_variant(self, type_: Any, *dialect_names: str) -> NoReturn:
        """Refuse: values would be stored unsealed where the variant applies.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "EncryptedType cannot have a variant, whose values would not be sealed; give the variant to the "
            "type of the values: EncryptedType(String().with_variant(...))"
        )

    @property
    def plain(self) -> TypeEngine[Any]:
        """The type under which a dry run stores the values."""
        return plain_type(self.type_, self._codec)

    def bind_plain(self, value: Any, dialect: Dialect) -> Any:
        """Return a plain value of a dry run as the driver takes it.

        Raises:
            ConfigurationError: the column is in no dry run.
        """
        if self.sealed_column is None or self.sealed_column.dry_run is None:
            raise ConfigurationError("no plain value is written outside of a dry run")
        processor = self.plain.dialect_impl(dialect).bind_processor(dialect)
        return value if processor is None else processor(value)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's type of sealed values, with a length where the codec has one."""
        if self.sealed_column is not None and self.sealed_column.dry_run is not None:
            return dialect.type_descriptor(self.plain)
        length = self._codec.max_bytes
        max_bytes = None if length is None else length + self.scheme.suite.overhead
        if max_bytes is not None and self.scheme.accept_legacy:
            # What they have written is there as well.
            max_bytes = None if self.legacy.max_bytes is None else max(max_bytes, self.legacy.max_bytes)
        return dialect.type_descriptor(database_of(dialect).sealed_type(max_bytes))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return the function that lets presealed values pass.

        Any other value is handed on as :class:`~sqlalchemy_cmk.columns.presealed.Unsealed`, which no driver
        takes: a hook seals it once its statement is known, or refuses it.
        """
        # Plain bytes: every driver takes them, and the memoryview that sqlite3.Binary makes is work for the
        # garbage collector.
        nulls, prefix, column = not self.should_evaluate_none, PREFIX, self.sealed_column
        if column is None:
            self._refuse_unattached()

        def process(value: Any) -> Any:
            if type(value) is bytes and value.startswith(prefix):
                return value[PREFIX_BYTES:]
            if (value is None and nulls) or isinstance(value, Null):
                return None
            if type(value) is Plain:  # of a dry run
                return self.bind_plain(value.value, dialect)
            return value if type(value) is Unsealed else Unsealed(column, value)

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the function that opens a value whose row is not at hand."""

        @cache
        def plain() -> Any:
            return self.plain.dialect_impl(dialect).result_processor(dialect, coltype)

        return opening_processor(self.sealed_column or self._refuse_unattached(), plain)

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Refuse: a literal would put a plaintext into the SQL text.

        Here and not in a processor, whose error SQLAlchemy would wrap in one that shows the value.
        """
        dry_run = None if self.sealed_column is None else self.sealed_column.dry_run
        plain = None if dry_run is None else self.plain.dialect_impl(dialect).literal_processor(dialect)
        if dry_run is None or plain is None:
            self._refuse_literal()
        try:
            self._refuse_literal()
        except UnsupportedOperation as error:
            dry_run.note(error)
        return plain

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

    def _refuse_unattached(self) -> NoReturn:
        raise ConfigurationError(
            "this EncryptedType belongs to no column: use the column's own type, "
            "as in literal(x, Model.column.type)"
        )


_PARAMETERS = signature(EncryptedType.__init__).parameters.keys()
# For help() and editors, which would show the parameters of __new__.
EncryptedType.__new__.__signature__ = signature(EncryptedType.__init__)  # type: ignore[attr-defined]


def _type_of_values(type_: Any) -> Any:
    if is_structured(type_):
        return type_
    kind = type(type_).__name__
    try:
        made: Any = to_instance(type_)
    except Exception as error:
        made, kind = None, type(error).__name__
    if not isinstance(made, TypeEngine) or isinstance(made, NullType):
        given = described(type_)
        raise ConfigurationError(
            f"EncryptedType({given}): give a SQLAlchemy type such as String(50), a dataclass, a model or an "
            f"annotation such as list[int] ({kind})"
        )
    if isinstance(made, EncryptedType) or sealed_inside(made) is not None:
        raise ConfigurationError(f"EncryptedType({made!r}): give the type of the plain values")
    return made


def _with_scheme(type_: Any, scheme: Scheme) -> EncryptedType:
    return EncryptedType(type_, scheme=scheme)


@event.listens_for(EncryptedType, "before_parent_attach", propagate=True)
def _meet_column(type_: EncryptedType, column: Any) -> None:
    """Give each column a type of its own: a type given to several columns would not know its context."""
    if not isinstance(column, Column):
        return
    if column.type is not type_:
        refuse_nesting(column.type, f"column {column.name!r}: " if column.name else "")
    if type_.sealed_column is not None and type_.sealed_column.column is not column:
        own = type_.copy()
        column.type = own
        own.attach(column)
    else:
        type_.attach(column)
