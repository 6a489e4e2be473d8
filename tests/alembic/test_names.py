"""Tables and columns of any name are sealed, re-encrypted, counted, scrubbed and opened again."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk import ConfigurationError, EncryptedType, tenant_scope
from sqlalchemy_cmk.alembic.conversion.plan import shadow_of
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.comparing import is_binary
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.databases.reflection import reflected_columns
from sqlalchemy_cmk.format import parse_header
from sqlalchemy_cmk.rekey.counting import count_table, tables_to_search
from tests.alembic.adopting import Adoption, adoption
from tests.alembic.conftest import Project
from tests.support.databases import Database

NAMES = {
    "those of our own statements": ("cmk_new", "k0", "o0", "n0"),
    "those of our parameters": ("cmk_rows", "low", "cmk_low", "cmk_k0"),
    "the end of a function": ("$cmk$", "a$cmk$", "$cmk_$", "$cmk$"),
    "percent signs": ("100%", "%s", "%(k0)s", "a%%b"),
    "dots and colons": ("dot.ted", "a.b", "c:d", ":e"),
    "quotes": ('quo"te', "it's", "back`tick", "two words"),
    "63 characters": ("t" * 63, "k" * 63, "o" * 63, "c" * 63),
    "62 bytes": ("é" * 31, "ü" * 31, "ß" * 31, "back\\slash" + "ø" * 26),
}


def counted(adopted: Adoption) -> list[int]:
    """How many rows are under each DEK, as they are counted before one is destroyed."""
    sealed = type_coerce(adopted.table.c[adopted.names[-1]], LargeBinary())
    with adopted.engine.connect() as connection:
        deks = {parse_header(one)[1] for one in connection.scalars(select(sealed))}
        connection.rollback()
        database_of(connection.dialect).wait_for_writers(connection, [adopted.table])
        ((table, columns),) = tables_to_search(connection, adopted.keyring)
        counts = count_table(connection, table, columns, deks).by_dek
    return [sum(one.values()) for one in counts.values()]


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_a_table_of_any_name_is_sealed_moved_to_another_dek_and_opened(
    database: Database, tmp_path: Path, names: tuple[str, str, str, str]
) -> None:
    table, _, tenant, column = names
    named = dict(zip(("table", "key", "tenant", "column"), names, strict=True))
    with adoption(database.url, tmp_path, row_bound=True, **named) as adopted:
        adopted.create()
        adopted.fill()
        plain = adopted.stored()
        adopted.seal(scrub=True)
        assert adopted.opened() == plain
        adopted.migrate(lambda op: op.rotate_dek("acme"))
        adopted.migrate(lambda op: op.reencrypt(table, [column], "acme"))
        assert adopted.opened() == plain
        assert sorted(counted(adopted)) == [10, 10]
        adopted.open()
        assert adopted.stored() == plain
        # Nothing of ours is left that the application's statements would meet.
        quote = Quoting(adopted.engine.dialect).name
        adopted.run(f"UPDATE {quote(table)} SET {quote(tenant)} = 'globex', {quote(column)} = 'changed'")
        assert {row[1:] for row in adopted.stored()} == {("globex", "changed")}


def test_a_shadows_name_is_a_hash_where_the_columns_leaves_no_room(
    database: Database, tmp_path: Path
) -> None:
    with adoption(database.url, tmp_path, column="c" * 60) as adopted:
        adopted.create()
        adopted.fill()
        plain = adopted.stored()
        for phase in ("expand", "copy", "swap"):
            adopted.seal(phase=phase)
        assert adopted.opened() == plain


@pytest.mark.parametrize("kind", ["percent signs", "dots and colons", "quotes", "63 characters"])
def test_the_script_of_a_migration_holds_names_as_they_are(
    database: Database, tmp_path: Path, kind: str
) -> None:
    named = dict(zip(("table", "key", "tenant", "column"), NAMES[kind], strict=True))
    with adoption(database.url, tmp_path, **named) as adopted:
        adopted.create()
        script = adopted.script(dialect_opts={"paramstyle": "named"})
        with adopted.engine.connect() as connection:
            raw = connection.execution_options(isolation_level="AUTOCOMMIT", no_parameters=True)
            for statement in re.split(r";\s*\n\n", re.sub(r"^--.*$", "", script, flags=re.MULTILINE)):
                if statement.strip():
                    raw.exec_driver_sql(statement)
        with adopted.engine.connect() as connection:
            there = reflected_columns(connection, adopted.table.name, None)
            noted = connection.scalars(select(adopted.metadata.tables["cmk_columns"].c.column_name)).all()
        binary = [one["name"] for one in there if is_binary(one["type"])]
        if database.name == "sqlite":  # the script ends with the first step
            assert binary == [shadow_of(named["column"])]
        else:
            assert binary == noted == [named["column"]]


def test_a_script_that_would_double_percent_signs_is_not_written(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigurationError, match=r"100%: --sql .* dialect_opts")
    with adoption("postgresql+psycopg://", tmp_path, column="100%") as adopted, refused:
        adopted.script()


@pytest.mark.parametrize("kind", ["percent signs", "dots and colons", "63 characters"])
def test_autogenerate_finds_columns_of_any_name_once(project: Project, kind: str) -> None:
    table, key, tenant, column = NAMES[kind]

    def models(type_: TypeEngine[Any]) -> MetaData:
        metadata = MetaData()
        columns = (Column(key, Integer, primary_key=True), Column(tenant, String(40)), Column(column, type_))
        Table(table, metadata, *columns, info={"cmk_tenant": tenant})
        return metadata

    plain, sealed = models(String(11)), models(EncryptedType(String(11)))
    project.options["rekey"] = {"rate": None}
    project.models(plain)
    project.autogenerate()
    project.upgrade()
    row = {key: 1, tenant: "acme", column: "078-05-1120"}
    with project.engine.begin() as connection:
        connection.execute(insert(plain.tables[table]), row)
    project.models(sealed)
    assert project.autogenerate().count("op.encrypt_column(") == 1
    project.upgrade()
    assert project.autogenerate() == ""
    with project.engine.connect() as connection, tenant_scope("acme"):
        assert connection.execute(select(sealed.tables[table])).mappings().one() == row
    project.downgrade()
    project.models(plain)
    with project.engine.connect() as connection:
        assert connection.execute(select(plain.tables[table])).mappings().one() == row
