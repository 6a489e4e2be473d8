"""An EncryptedType inside another type would be sealed and opened without its row: it is refused."""

import enum
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    Dialect,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    PickleType,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from sqlalchemy_cmk import ConfigurationError, EncryptedType

SEALED = EncryptedType(String(50))


class Colour(enum.Enum):
    RED = "red"


class Impl(TypeDecorator[str]):
    impl = EncryptedType
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(String(50))


class ImplInstance(TypeDecorator[str]):
    impl = EncryptedType(String(50))
    cache_ok = True


class Impls(TypeDecorator[str]):
    impl = Impl
    cache_ok = True


class Upper(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and value.upper()


INSIDE: dict[str, Callable[[], Any]] = {
    "the class that a decorator decorates": Impl,
    "the instance that a decorator decorates": ImplInstance,
    "a decorator in a decorator": Impls,
    "a decorator in an array": lambda: ARRAY(Impl()),
    "a pickle": lambda: PickleType(impl=EncryptedType(LargeBinary)),
    "an array": lambda: ARRAY(EncryptedType(String(50))),
    "PostgreSQL's array": lambda: postgresql.ARRAY(EncryptedType(String(50)), dimensions=2),
    "PostgreSQL's domain": lambda: postgresql.DOMAIN("secret", EncryptedType(String(50))),
    "PostgreSQL's hstore": lambda: postgresql.HSTORE(text_type=EncryptedType(Text)),
    "a variant of a string": lambda: String(50).with_variant(EncryptedType(String(50)), "sqlite"),
    "a variant of an enum": lambda: Enum(Colour).with_variant(EncryptedType(Enum(Colour)), "postgresql"),
    "a variant of JSON": lambda: JSON().with_variant(EncryptedType(JSON), "mysql", "mariadb"),
    "a variant of an array": lambda: ARRAY(String).with_variant(ARRAY(EncryptedType(String)), "sqlite"),
    "a variant of a decorator": lambda: Upper().with_variant(EncryptedType(String(50)), "sqlite"),
}


def annotated(type_: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[Annotated[str, mapped_column(type_)]]


def by_the_map(type_: Any) -> None:
    class Base(DeclarativeBase):
        type_annotation_map = {str: type_}  # noqa: RUF012

    class Patient(Base):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[str]


def in_a_mixin(type_: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Named:
        ssn: Mapped[str] = mapped_column(type_)

    class Patient(Named, Base):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(primary_key=True)


def in_a_table(type_: Any) -> None:
    Table("patients", MetaData(), Column("id", Integer, primary_key=True), Column("ssn", type_))


def appended(type_: Any) -> None:
    Table("patients", MetaData(), Column("id", Integer, primary_key=True)).append_column(Column("ssn", type_))


@pytest.mark.parametrize("declare", [in_a_table, appended, annotated, by_the_map, in_a_mixin])
@pytest.mark.parametrize("name", INSIDE)
def test_a_sealed_type_inside_another_is_refused_when_the_column_is_declared(
    name: str, declare: Callable[[Any], None]
) -> None:
    with pytest.raises(ConfigurationError, match=r"EncryptedType inside .* put it outside"):
        declare(INSIDE[name]())


@pytest.mark.parametrize("name", INSIDE)
def test_a_sealed_type_inside_the_type_of_the_values_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="give the type of the plain values"):
        EncryptedType(INSIDE[name]())


@pytest.mark.parametrize("declare", [in_a_table, appended, annotated, by_the_map, in_a_mixin])
@pytest.mark.parametrize(
    "type_",
    [
        EncryptedType(Upper()),
        EncryptedType(Enum(Colour)),
        EncryptedType(String(50).with_variant(Text(), "sqlite")),
        EncryptedType(JSON().with_variant(postgresql.JSONB(), "postgresql")),
        MutableDict.as_mutable(EncryptedType(JSON)),
    ],
    ids=repr,
)
def test_another_type_inside_a_sealed_one_is_welcome(type_: Any, declare: Callable[[Any], None]) -> None:
    declare(type_)


@pytest.mark.parametrize(
    "variant",
    [lambda: SEALED.with_variant(LargeBinary(), "sqlite"), lambda: SEALED.with_variant(SEALED, "x")],
)
def test_a_sealed_type_has_no_variant(variant: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"EncryptedType\(String\(\)\.with_variant"):
        variant()


@pytest.mark.parametrize(
    "method",
    [
        "process_bind_param",
        "process_result_value",
        "bind_processor",
        "column_expression",
        "load_dialect_impl",
    ],
)
def test_a_subclass_that_converts_values_is_refused(method: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"Shouted: .* cannot override {method}.*EncryptedType\(Your"
    ):
        type("Shouted", (EncryptedType,), {method: lambda self, value, dialect: value})


def test_a_subclass_may_choose_the_type_and_the_options() -> None:
    class Ssn(EncryptedType):
        """A type of the application's, with a constructor of its own."""

        def __init__(self, length: int, country: str) -> None:
            super().__init__(String(length), context=f"ssn-{country}")

    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[str] = mapped_column(Ssn(11, "se"))
        other: Mapped[str] = mapped_column(Ssn(9, country="no"))

    columns: Any = Patient.__table__.c
    contexts = [columns[name].type.sealed_column.scheme.context for name in ("ssn", "other")]
    assert contexts == ["ssn-se", "ssn-no"]


def test_a_type_that_becomes_sealed_for_a_dialect_refuses_its_values() -> None:
    class Late(TypeDecorator[str]):
        impl = LargeBinary
        cache_ok = True

        def load_dialect_impl(self, dialect: Dialect) -> Any:
            return EncryptedType(String(50))

    with pytest.raises(ConfigurationError, match="belongs to no column"):
        Late().dialect_impl(postgresql.dialect()).bind_processor(postgresql.dialect())
