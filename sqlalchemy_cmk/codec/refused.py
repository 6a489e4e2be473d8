"""Types whose values cannot be sealed, and what to declare in their place."""

from __future__ import annotations

from typing import Any, NoReturn

from msgspec.inspect import CustomType, Field, Type, type_info
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.errors import ConfigurationError

_TEXT = "seal the value's text, EncryptedType(String(43))"
_SEARCHED = "it holds words for PostgreSQL to search, which sealed bytes do not answer: drop the column"
_RANGE = "seal its bounds, as a dataclass or as two columns"
_OTHERS = (
    "declare a SQLAlchemy type whose values are Python's own, JSON, a dataclass or an annotation such as "
    "dict[str, str]; or a TypeDecorator of yours that turns the values into one of these"
)
# By the names of the classes: their dialects are not imported for this.
_ADVICE = {
    **dict.fromkeys(("INET", "CIDR", "INET4", "INET6", "MACADDR", "MACADDR8"), _TEXT),
    **dict.fromkeys(("TSVECTOR", "TSQUERY"), _SEARCHED),
    **dict.fromkeys(("AbstractSingleRange", "AbstractMultiRange"), _RANGE),
    "HSTORE": "seal its mapping, EncryptedType(dict[str, str | None])",
    "DOMAIN": "seal the type that the domain has, EncryptedType(the_domain.data_type)",
    "BIT": "seal its digits, EncryptedType(String(64)), or a number, EncryptedType(BigInteger)",
    "MONEY": "seal the amount, EncryptedType(Numeric(19, 2))",
    "YEAR": "seal the number, EncryptedType(SmallInteger)",
    "SET": "seal a set, EncryptedType(set[str])",
    "PickleType": (
        "seal JSON, a dataclass, a Pydantic model or an annotation such as dict[str, int]; or LargeBinary, "
        "in a TypeDecorator of yours that pickles"
    ),
}
# They look like a text and like bytes, and their values are neither.
_DISGUISED = ("SET", "PickleType")
# By these a type converts values where the hooks do not see it; a TypeDecorator's process_... are called.
_PROCESSING = ("bind_processor", "result_processor", "bind_expression", "column_expression")


def refuse(declared: TypeEngine[Any]) -> NoReturn:
    """Raise for a type whose values cannot be sealed.

    Raises:
        ConfigurationError: always; it says what to declare instead.
    """
    names = (one.__name__ for one in type(declared).__mro__)
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), _OTHERS)
    raise ConfigurationError(f"EncryptedType cannot seal values of {type(declared).__name__}: {advice}")


def refuse_other_values(declared: TypeEngine[Any]) -> None:
    """Refuse a type whose Python values are not those of the type that it is made from.

    The processors of SQLAlchemy's own types only make of a value what a driver takes, and a sealed column's
    values reach no driver. Any other type's may convert it, and would not be called.

    Raises:
        ConfigurationError: it is such a type.
    """
    for one in type(declared).__mro__:
        if one.__module__.startswith("sqlalchemy."):
            if one.__name__ in _DISGUISED:
                refuse(declared)
            continue
        for name in _PROCESSING:
            if name in vars(one):
                raise ConfigurationError(
                    f"EncryptedType cannot seal values of {type(declared).__name__}: its {name} would not be "
                    "called; convert them in a TypeDecorator's process_bind_param and process_result_value"
                )


def refuse_foreign_parts(annotation: Any) -> None:
    """Refuse an annotation or a dataclass with a class in it that MessagePack has no form for.

    Raises:
        ConfigurationError: it has one, also deep inside.
    """
    seen: list[Any] = [type_info(annotation)]
    for one in seen:
        if isinstance(one, CustomType) and one.cls is not object:
            raise ConfigurationError(
                f"EncryptedType cannot seal values of {annotation!r}, which hold {one.cls.__qualname__}: put "
                "its text or number there, and convert in a property or in a TypeDecorator of yours over JSON"
            )
        for name in getattr(one, "__struct_fields__", ()):
            part = getattr(one, name)
            seen += [
                inner
                for inner in (part if isinstance(part, tuple) else (part,))
                if isinstance(inner, Type | Field) and not any(inner is known for known in seen)
            ]
