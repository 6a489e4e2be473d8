"""Each table with sealed columns says whose rows it holds, once one of its metadata belongs to tenants."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, join, select
from sqlalchemy.ext.declarative import AbstractConcreteBase, ConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    column_property,
    declared_attr,
    mapped_column,
    registry,
)

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.keys.declarations import refuse_wrong_declarations

UNSAID = "would be sealed under the platform's key, while other tables of this metadata have a tenant column"


@pytest.fixture
def base() -> Any:
    """A declarative base with one model of tenants."""

    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        kind: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "patient"}

    Base.Patient = Patient
    return Base


class Fields:
    """What every model below has."""

    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    secret: Mapped[str] = mapped_column(EncryptedType(String(40)))


def sealed_table(metadata: MetaData, **options: Any) -> Table:
    number, clinic = Column("id", Integer, primary_key=True), Column("clinic", String(40))
    return Table("things", metadata, number, clinic, Column("secret", EncryptedType(String(40))), **options)


def unsaid(base: Any) -> None:
    class Thing(Fields, base):
        __tablename__ = "things"


def said(base: Any) -> None:
    class Thing(Fields, base):
        __tablename__ = "things"
        __cmk_tenant__ = "clinic"


def said_none(base: Any) -> None:
    class Thing(Fields, base):
        __tablename__ = "things"
        __cmk_tenant__ = None


def said_by_a_mixin(base: Any) -> None:
    class OfClinics:
        __cmk_tenant__ = "clinic"

    class Thing(OfClinics, Fields, base):
        __tablename__ = "things"


def said_by_a_declared_attribute(base: Any) -> None:
    class OfClinics:
        @declared_attr.directive
        def __cmk_tenant__(cls) -> str:
            return "clinic"

    class Thing(OfClinics, Fields, base):
        __tablename__ = "things"


def said_by_an_abstract_base(base: Any) -> None:
    class OfClinics(Fields, base):
        __abstract__ = True
        __cmk_tenant__ = "clinic"

    class Thing(OfClinics):
        __tablename__ = "things"


def denied_below_an_abstract_base(base: Any) -> None:
    class OfClinics(Fields, base):
        __abstract__ = True
        __cmk_tenant__ = "clinic"

    class Thing(OfClinics):
        __tablename__ = "things"
        __cmk_tenant__ = None


def inherited_by_a_joined_table(base: Any) -> None:
    class Thing(base.Patient):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(ForeignKey("patients.id"), primary_key=True)
        secret: Mapped[str] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_identity": "thing"}


def denied_by_a_joined_table(base: Any) -> None:
    class Thing(base.Patient):
        __tablename__ = "things"
        __cmk_tenant__ = None
        id: Mapped[int] = mapped_column(ForeignKey("patients.id"), primary_key=True)
        secret: Mapped[str] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_identity": "thing"}


def inherited_by_a_concrete_table(base: Any) -> None:
    class Thing(base.Patient):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        kind: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_identity": "thing", "concrete": True}


def said_by_a_concrete_base(base: Any) -> None:
    class Thing(ConcreteBase, Fields, base):
        __tablename__ = "things"
        __cmk_tenant__ = "clinic"
        __mapper_args__: ClassVar = {"polymorphic_identity": "thing", "concrete": True}

    class Other(Thing):
        __tablename__ = "others"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        secret: Mapped[str] = mapped_column(EncryptedType(String(40)))
        __mapper_args__: ClassVar = {"polymorphic_identity": "other", "concrete": True}

    base.registry.configure()


def said_by_an_abstract_concrete_base(base: Any) -> None:
    class Common(AbstractConcreteBase, base):
        strict_attrs = True
        __cmk_tenant__ = "clinic"

    class Thing(Fields, Common):
        __tablename__ = "things"
        __mapper_args__: ClassVar = {"polymorphic_identity": "thing", "concrete": True}

    class Other(Fields, Common):
        __tablename__ = "others"
        __mapper_args__: ClassVar = {"polymorphic_identity": "other", "concrete": True}

    base.registry.configure()


def said_by_a_dataclass(base: Any) -> None:
    class Thing(MappedAsDataclass, base):
        __tablename__ = "things"
        __cmk_tenant__: ClassVar[str] = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        secret: Mapped[str] = mapped_column(EncryptedType(String(40)))


def said_in_a_decorated_class(base: Any) -> None:
    @base.registry.mapped
    class Thing(Fields):
        __tablename__ = "things"
        __cmk_tenant__ = "clinic"


def said_by_a_class_of_another_making(base: Any) -> None:
    """As SQLModel makes them: a metaclass of its own, fields of a base without a table, one type for all."""

    class Making(type(base)):  # type: ignore[misc]
        def __new__(mcs, name: str, bases: tuple[type, ...], namespace: Any, table: bool = False) -> Any:
            columns = {}
            if table:
                fields = {key: one for cls in bases for key, one in getattr(cls, "fields", {}).items()}
                columns = {key: Column(one, primary_key=key == "id") for key, one in fields.items()}
            return super().__new__(mcs, name, bases, {**namespace, **columns})

        def __init__(cls, name: str, bases: tuple[type, ...], namespace: Any, table: bool = False) -> None:
            super().__init__(name, bases, namespace)

    class ThingBase(base, metaclass=Making):
        __abstract__ = True
        __cmk_tenant__ = "clinic"
        fields: ClassVar = {"id": Integer(), "clinic": String(40), "secret": EncryptedType(String(40))}

    class Thing(ThingBase, table=True):
        __tablename__ = "things"

    class Other(ThingBase, table=True):
        __tablename__ = "others"

    types = [one.__table__.c.secret.type for one in (Thing, Other)]
    assert [one.sealed_column.table.name for one in types] == ["things", "others"]


def mapped_by_hand(base: Any) -> None:
    class Thing:
        __cmk_tenant__ = "clinic"

    base.registry.map_imperatively(Thing, sealed_table(base.metadata))


def mapped_by_another_name(base: Any) -> None:
    class Thing:
        __cmk_tenant__ = "whose"

    things = sealed_table(base.metadata)
    base.registry.map_imperatively(Thing, things, properties={"whose": things.c.clinic})


def mapped_by_hand_unsaid(base: Any) -> None:
    class Thing:
        pass

    base.registry.map_imperatively(Thing, sealed_table(base.metadata))


def mapped_to_a_join(base: Any) -> None:
    things, patients = sealed_table(base.metadata), base.Patient.__table__

    class Both(base):
        __table__ = join(patients, things, patients.c.id == things.c.id)
        __cmk_tenant__ = "clinic"
        id = column_property(patients.c.id, things.c.id)
        clinic = column_property(things.c.clinic, patients.c.clinic)


def mapped_to_a_subquery(base: Any) -> None:
    things = sealed_table(base.metadata, info={"cmk_tenant": "clinic"})

    class Thing(base):
        __table__ = select(things).where(things.c.id > 5).subquery()
        __cmk_tenant__ = "clinic"
        __mapper_args__: ClassVar = {"primary_key": [__table__.c.id]}


def copied(base: Any, **options: Any) -> Table:
    """A version table, made as SQLAlchemy-Continuum makes them."""
    columns = [column._copy() for column in base.Patient.__table__.c]
    return Table("things", base.metadata, *columns, Column("transaction_id", Integer), **options)


def a_copy_that_says_it(base: Any) -> None:
    copied(base).info["cmk_tenant"] = "clinic"


def a_copy_whose_model_says_it(base: Any) -> None:
    class PatientVersion(base):
        __table__ = copied(base)
        __cmk_tenant__ = "clinic"


def a_copy_whose_model_inherits_it(base: Any) -> None:
    class Version(base):
        __abstract__ = True
        __cmk_tenant__ = "clinic"

    type("PatientVersion", (Version,), {"__table__": copied(base)})


DECLARED: dict[Callable[[Any], Any], str | None] = {
    unsaid: UNSAID,
    said: "things.clinic",
    said_none: None,
    said_by_a_mixin: "things.clinic",
    said_by_a_declared_attribute: "things.clinic",
    said_by_an_abstract_base: "things.clinic",
    denied_below_an_abstract_base: None,
    inherited_by_a_joined_table: "patients.clinic",
    denied_by_a_joined_table: None,
    inherited_by_a_concrete_table: "things.clinic",
    said_by_a_concrete_base: "things.clinic",
    said_by_an_abstract_concrete_base: "things.clinic",
    said_by_a_dataclass: "things.clinic",
    said_in_a_decorated_class: "things.clinic",
    said_by_a_class_of_another_making: "things.clinic",
    mapped_by_hand: "things.clinic",
    mapped_by_another_name: "things.clinic",
    mapped_by_hand_unsaid: UNSAID,
    mapped_to_a_join: "things.clinic",
    mapped_to_a_subquery: "things.clinic",
    lambda base: sealed_table(base.metadata): UNSAID,
    lambda base: sealed_table(base.metadata, info={"cmk_tenant": "clinic"}): "things.clinic",
    lambda base: sealed_table(base.metadata, info={"cmk_tenant": None}): None,
    lambda base: copied(base): UNSAID,
    lambda base: copied(base, info={"cmk_tenant": "clinic"}): "things.clinic",
    a_copy_that_says_it: "things.clinic",
    a_copy_whose_model_says_it: "things.clinic",
    a_copy_whose_model_inherits_it: "things.clinic",
    lambda base: base.Patient.__table__.to_metadata(base.metadata, name="things"): "things.clinic",
}


@pytest.mark.parametrize("declare", DECLARED)
def test_a_table_beside_tenants_tables_says_whose_it_is(declare: Callable[[Any], Any], base: Any) -> None:
    declare(base)
    if DECLARED[declare] == UNSAID:
        with pytest.raises(ConfigurationError, match=f"^things: .*{UNSAID}.*__cmk_tenant__ = None"):
            refuse_wrong_declarations(base.metadata)
        return
    refuse_wrong_declarations(base.metadata)
    things = base.metadata.tables["things"]
    source, sealed = tenant_source(things), [c for c in things.c if isinstance(c.type, EncryptedType)]
    assert (None if source is None else str(source.column)) == DECLARED[declare]
    assert sealed and all(c.type.sealed_column.is_tenants is (source is not None) for c in sealed)


def test_a_copied_column_keeps_its_options_and_has_a_context_of_its_own(base: Any) -> None:
    secret = EncryptedType(String(40), deterministic=True, on_revoked="seal")
    base.Patient.__table__.append_column(Column("email", secret, unique=True))
    email: Any = copied(base, info={"cmk_tenant": "clinic"}).c.email.type
    assert email.scheme == secret.scheme
    assert email.sealed_column.context.names[1:] == ("things", "email")
    refuse_wrong_declarations(base.metadata)


@pytest.mark.parametrize(
    "declare",
    [
        lambda base: Table("plain", base.metadata, Column("id", Integer, primary_key=True)),
        lambda base: Table(
            "links",
            base.metadata,
            Column("a", ForeignKey("patients.id"), primary_key=True),
            Column("b", ForeignKey("patients.id"), primary_key=True),
        ),
        lambda base: Table("t", base.metadata, Column("a", EncryptedType(String, owner="platform"))),
        lambda base: sealed_table(MetaData()),
    ],
    ids=["nothing sealed", "an association table", "the platform's column", "another metadata"],
)
def test_who_has_no_sealed_column_of_its_rows_need_not_say_it(
    declare: Callable[[Any], Any], base: Any
) -> None:
    declare(base)
    refuse_wrong_declarations(base.metadata)


def test_without_any_tenant_nobody_need_say_it() -> None:
    metadata = MetaData()
    sealed_table(metadata)
    refuse_wrong_declarations(metadata)
    Table("patients", metadata, Column("clinic", String(40)), info={"cmk_tenant": "clinic"})
    with pytest.raises(ConfigurationError, match=UNSAID):
        refuse_wrong_declarations(metadata)


def test_each_metadata_is_checked_by_itself(base: Any, make_vault: Any) -> None:
    vault, alone = make_vault(), MetaData()
    sealed_table(alone)
    vault.keyring.protect(base)
    vault.keyring.protect(alone)
    sealed_table(base.metadata)
    with pytest.raises(ConfigurationError, match=UNSAID):
        vault.keyring.protect(base)
    vault.keyring.protect(alone)


def test_a_copy_of_an_inheriting_table_alone_is_refused(base: Any) -> None:
    inherited_by_a_joined_table(base)
    elsewhere = MetaData()
    base.metadata.tables["things"].to_metadata(elsewhere)
    with pytest.raises(ConfigurationError, match=r"a copy whose tenant column is in patients: copy that too"):
        refuse_wrong_declarations(elsewhere)
    base.Patient.__table__.to_metadata(elsewhere)
    refuse_wrong_declarations(elsewhere)


def single_table(base: Any, tenant: Any) -> None:
    class Inpatient(base.Patient):
        __cmk_tenant__ = tenant
        ward: Mapped[str | None] = mapped_column(String(40))
        __mapper_args__: ClassVar = {"polymorphic_identity": "inpatient"}


def mapped_table(base: Any, tenant: Any, info: Any) -> None:
    class Thing(base):
        __table__ = sealed_table(base.metadata, info={"cmk_tenant": info})
        __cmk_tenant__ = tenant


CONTRADICTIONS: list[tuple[Callable[[Any], None], str]] = [
    (
        lambda base: single_table(base, None),
        "belongs to the tenants in patients.clinic already: say the same",
    ),
    (lambda base: single_table(base, "ward"), "belongs to the tenants in patients.clinic already"),
    (lambda base: mapped_table(base, "clinic", None), "belongs to the platform already"),
    (lambda base: mapped_table(base, None, "clinic"), "belongs to the tenants in things.clinic already"),
    (lambda base: mapped_table(base, "id", "clinic"), "belongs to the tenants in things.clinic already"),
]


@pytest.mark.parametrize(("declare", "message"), CONTRADICTIONS)
def test_a_model_that_contradicts_its_table_is_refused(
    declare: Callable[[Any], None], message: str, base: Any
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        declare(base)


@pytest.mark.parametrize("declare", [single_table, lambda base, tenant: mapped_table(base, tenant, "clinic")])
def test_a_model_that_agrees_with_its_table_passes(declare: Callable[..., None], base: Any) -> None:
    declare(base, "clinic")
    refuse_wrong_declarations(base.metadata)


# Python gives the two that do not end in two underscores another name.
class Tenant:
    __cmk_tenant = "clinic"


class _Tenant_:
    __cmk_tenant_ = "clinic"


MISTYPED: dict[str, tuple[type, str]] = {
    **{
        name: (type("Whose", (), {name: "clinic"}), meant)
        for name, meant in {
            "__cmk_tennant__": "__cmk_tenant__",
            "__cmk_tenants__": "__cmk_tenant__",
            "__cmk_tenant_id__": "__cmk_tenant__",
            "__CMK_TENANT__": "__cmk_tenant__",
            "__cmktenant__": "__cmk_tenant__",
            "__cmk_rows__": "__cmk_row__",
            "__cmk_x__": "__cmk_",
        }.items()
    },
    "__cmk_tenant": (Tenant, "__cmk_tenant__"),
    "__cmk_tenant_": (_Tenant_, "__cmk_tenant__"),
}


@pytest.mark.parametrize("name", MISTYPED)
def test_a_mistyped_name_is_refused_with_the_closest_one(name: str, base: Any) -> None:
    mixin, meant = MISTYPED[name]
    with pytest.raises(ConfigurationError, match=rf"\.{name} means nothing: did you mean {meant}"):
        type("Thing", (mixin, Fields, base), {"__tablename__": "things"})


@pytest.mark.parametrize("wrong", ["clinik", 5, ("clinic",), Column("clinic", String), b"clinic", ""])
def test_a_tenant_that_names_no_column_is_refused(wrong: Any, base: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Thing\.__cmk_tenant__ .*is not a column of the model"):
        type("Thing", (Fields, base), {"__tablename__": "things", "__cmk_tenant__": wrong})


ROWS: dict[Any, str] = {
    "id": "is a tuple of attribute names",
    (): "is a tuple of attribute names",
    (5,): "is a tuple of attribute names",
    ("id", "nr"): "names 'nr', which is not a column of the model",
}


@pytest.mark.parametrize("wrong", ROWS)
def test_a_row_identity_that_names_no_columns_is_refused(wrong: Any, base: Any) -> None:
    with pytest.raises(ConfigurationError, match=ROWS[wrong]):
        type("Thing", (Fields, base), {"__tablename__": "things", "__cmk_row__": wrong})


def test_two_models_of_a_table_agree_on_its_row_identity() -> None:
    mapping, things = registry(), sealed_table(MetaData())
    mapping.map_imperatively(type("One", (), {"__cmk_row__": ("id",)}), things)
    mapping.map_imperatively(type("Same", (), {"__cmk_row__": ["id"]}), things)
    with pytest.raises(ConfigurationError, match="rows of things are identified by id already: say the same"):
        mapping.map_imperatively(type("Other", (), {"__cmk_row__": ("clinic",)}), things)
