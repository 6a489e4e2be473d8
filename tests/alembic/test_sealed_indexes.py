"""Migrations make, change and drop search indexes; autogenerate writes them; none of them needs a model."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Column, Date, Integer, MetaData, String, Table, insert, inspect, select, update

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.keys.indexes import catalogue, records
from sqlalchemy_cmk.search import Compound, Exact, NGram, Range, fold
from tests.alembic.conftest import Project

pytestmark = pytest.mark.drivers("sync")

BORN = Range(date(1900, 1, 1), date(2100, 1, 1))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SEEN_WITHIN", 0.0)
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.05)


def models(email: Any = (), born: Any = (), *, plain: bool = False) -> MetaData:
    metadata = MetaData()
    Table(
        "patients",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("clinic_id", String(40), nullable=False),
        Column("email", String(60) if plain else EncryptedType(String(60), index=email), nullable=True),
        Column("born", EncryptedType(Date(), index=born), nullable=True),
        info={"cmk_tenant": "clinic_id"},
    )
    return metadata


def pairs(*, together: bool) -> MetaData:
    metadata = MetaData()
    texts = (Column(name, EncryptedType(String(20)), nullable=True) for name in ("last", "first"))
    info: dict[str, Any] = {"cmk_tenant": "clinic_id"}
    info |= {"cmk_indexes": (Compound("last", "first"),)} if together else {}
    clinic = Column("clinic_id", String(40), nullable=False)
    Table("patients", metadata, Column("id", Integer, primary_key=True), clinic, *texts, info=info)
    return metadata


def add(project: Project, *emails: str | None) -> None:
    project.keyring  # noqa: B018
    rows = [
        {"clinic_id": "acme", "email": email, "born": date(1980, 1, 1 + i)} for i, email in enumerate(emails)
    ]
    with project.engine.begin() as connection:
        connection.execute(insert(project.metadata.tables["patients"]), rows)


def found(project: Project, email: str) -> list[int]:
    project.keyring  # noqa: B018
    table = project.metadata.tables["patients"]
    query = select(table.c.id).where(table.c.clinic_id == "acme", table.c.email == email)
    with project.engine.connect() as connection:
        return sorted(connection.scalars(query.order_by(table.c.id)))


def columns(project: Project) -> set[str]:
    return {one["name"] for one in inspect(project.engine).get_columns("patients")}


def migrate(project: Project, metadata: MetaData) -> str:
    project.models(metadata)
    written = " ".join("\n".join(project.autogenerate_all()).split())
    project.upgrade()
    assert project.autogenerate_all() == []
    return written


def test_indexes_of_a_new_table_are_operations_of_their_own(project: Project) -> None:
    written = migrate(project, models([Exact(normalize=fold)], [BORN]))
    assert "email_exact" not in written and "TokenType" not in written
    assert "op.create_sealed_index('patients', 'email', Exact(normalize=fold)" in written
    assert "from sqlalchemy_cmk.search import fold" in written and ", index=" not in written
    add(project, "A@b", None)
    table = project.metadata.tables["patients"]
    query = select(table.c.id).where(table.c.clinic_id == "acme", table.c.born < date(1980, 1, 2))
    with project.engine.connect() as connection:
        assert len(connection.execute(query).all()) == 1
    project.downgrade("base")
    assert not inspect(project.engine).has_table("patients")


def test_an_index_that_is_added_finds_the_rows_that_are_there(project: Project) -> None:
    migrate(project, models())
    add(project, "a@b", "c@d", None, "a@b")
    written = migrate(project, models([Exact()]))
    assert written.count("op.create_sealed_index('patients', 'email', Exact()") == 1
    assert written.count("op.drop_sealed_index('patients', 'email', Exact()") == 1
    assert found(project, "a@b") == [1, 4]
    project.downgrade()
    assert "email_exact" not in columns(project)
    with pytest.raises(UnsupportedOperation, match="was dropped"):
        found(project, "a@b")
    project.upgrade()
    assert found(project, "a@b") == [1, 4]


def test_an_index_that_is_removed_comes_back_as_it_was(project: Project) -> None:
    migrate(project, models([Exact(bits=100, name="short")]))
    add(project, "a@b")
    written = migrate(project, models())
    assert "op.drop_sealed_index('patients', 'email', Exact(bits=100, name='short'))" in written
    assert "email_short" not in columns(project)
    project.downgrade()
    project.models(models([Exact(bits=100, name="short")]))
    assert found(project, "a@b") == [1]


def test_an_index_with_other_options_is_made_anew(project: Project) -> None:
    migrate(project, models([Exact(bits=100)]))
    add(project, "a@b")
    written = migrate(project, models([Exact()]))
    assert "# it is refused until it is rebuilt" in written
    assert found(project, "a@b") == [1]


def test_a_column_that_is_sealed_gets_its_index_and_loses_it_when_it_is_opened(project: Project) -> None:
    migrate(project, models(plain=True))
    add(project, "a@b", "c@d")
    written = migrate(project, models([Exact()]))
    assert written.index("op.encrypt_column") < written.index("op.create_sealed_index")
    assert found(project, "c@d") == [2]
    migrate(project, models(plain=True))
    assert "email_exact" not in columns(project)
    assert found(project, "c@d") == [2]


def test_keys_are_rotated_by_a_migration(project: Project) -> None:
    migrate(project, models([Exact()]))
    add(project, "a@b")
    imports = "from sqlalchemy_cmk.search import Exact; "
    project.revision(imports + "op.rebuild_sealed_index('patients', 'email', Exact())")
    project.upgrade()
    assert "email_exact" not in columns(project) and "email_exact__2" in columns(project)
    assert project.autogenerate_all() == []
    assert found(project, "a@b") == [1]
    table = project.metadata.tables["patients"]
    with project.engine.begin() as connection:
        of_acme = table.c.id == 1, table.c.clinic_id == "acme"
        connection.execute(update(table).where(*of_acme).values(email="n@w"))
    assert found(project, "n@w") == [1]


def test_the_two_phases_have_a_deployment_between_them(project: Project) -> None:
    migrate(project, models())
    add(project, "a@b")
    imports = "from sqlalchemy_cmk.search import Exact; "
    index = "'patients', 'email', Exact()"
    project.revision(imports + f"op.create_sealed_index({index}, phase='expand')")
    project.upgrade()
    add(project, "old@version")
    project.models(models([Exact()]))
    add(project, "new@version")
    with pytest.raises(UnsupportedOperation, match="is being built"):
        found(project, "a@b")
    project.revision(imports + f"op.create_sealed_index({index}, phase='fill')")
    project.upgrade()
    assert [found(project, one) for one in ("a@b", "old@version", "new@version")] == [[1], [2], [3]]


def test_what_ngrams_are_searched_by_is_made_and_dropped_with_them(project: Project) -> None:
    def matching(part: str) -> list[int]:
        project.keyring  # noqa: B018
        table = project.metadata.tables["patients"]
        query = select(table).where(table.c.clinic_id == "acme", table.c.email.icontains(part))
        with project.engine.connect() as connection:
            return sorted(one.id for one in connection.execute(query))

    migrate(project, models([NGram(3)]))
    add(project, "Harris", "other")
    assert matching("arri") == [1]
    project.models(models([NGram(3, name="parts"), NGram(3)]))
    migrate(project, project.metadata)
    add(project, "harrison")
    assert matching("ARRI") == [1, 3]
    migrate(project, models())
    assert not [one for one in inspect(project.engine).get_table_names() if "grams" in one]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_table_that_is_dropped_takes_its_indexes_along_and_brings_them_back(project: Project) -> None:
    with_index = models([NGram(3)])
    migrate(project, with_index)
    written = migrate(project, MetaData())
    assert written.index("op.drop_sealed_index('patients', 'email', NGram(") < written.index("op.drop_table")
    left = inspect(project.engine).get_table_names()
    assert not [one for one in left if "patients" in one]
    assert [one.state for one in project.keyring.indexes.stored()] == ["dropped"]
    project.downgrade()
    project.models(with_index)
    add(project, "Harris", "other")
    table = with_index.tables["patients"]
    query = select(table).where(table.c.clinic_id == "acme", table.c.email.icontains("arri"))
    with project.engine.connect() as connection:
        assert [one.id for one in connection.execute(query)] == [1]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_table_that_is_renamed_has_its_indexes_made_anew(project: Project) -> None:
    def named(name: str) -> MetaData:
        metadata = MetaData()
        email = EncryptedType(String(60), index=[Exact()], context=("patients", "email"))
        columns = Column("id", Integer, primary_key=True), Column("clinic_id", String(40), nullable=False)
        Table(name, metadata, *columns, Column("email", email), info={"cmk_tenant": "clinic_id"})
        return metadata

    migrate(project, named("patients"))
    with project.engine.begin() as connection:
        project.keyring  # noqa: B018
        row = {"clinic_id": "acme", "email": "a@b"}
        connection.execute(insert(project.metadata.tables["patients"]), [row])
    written = migrate(project, named("people"))
    places = [
        written.index(f"op.{one}") for one in ("drop_sealed_index", "rename_table", "create_sealed_index")
    ]
    assert places == sorted(places)
    table = project.metadata.tables["people"]
    project.keyring  # noqa: B018
    query = select(table.c.id).where(table.c.clinic_id == "acme", table.c.email == "a@b")
    with project.engine.connect() as connection:
        assert connection.scalars(query).all() == [1]


def test_an_index_over_several_columns_is_made_with_its_table_and_on_rows_that_are_there(
    project: Project,
) -> None:
    written = migrate(project, pairs(together=True))
    assert "op.create_sealed_index('patients', 'last', Compound('last', 'first')" in written
    assert "cmk_indexes" not in written
    table = project.metadata.tables["patients"]
    project.keyring  # noqa: B018
    asked = select(table.c.id).where(
        table.c.clinic_id == "acme", table.c.last == "Moore", table.c.first == "Ann"
    )
    with project.engine.begin() as connection:
        row = {"id": 1, "clinic_id": "acme", "last": "Moore", "first": "Ann"}
        connection.execute(insert(table), [row, {**row, "id": 2, "first": "Bob"}])
        assert connection.scalars(asked).all() == [1]
    migrate(project, pairs(together=False))
    assert "last_first_compound" not in columns(project)
    project.models(pairs(together=True))
    project.autogenerate_all()
    project.upgrade()
    table = project.metadata.tables["patients"]
    project.keyring  # noqa: B018
    asked = select(table.c.id).where(
        table.c.clinic_id == "acme", table.c.last == "Moore", table.c.first == "Bob"
    )
    with project.engine.connect() as connection:
        assert connection.scalars(asked).all() == [2]
