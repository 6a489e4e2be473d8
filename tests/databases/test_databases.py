"""What databases differ in stands in databases/, and what is not known of a database is refused."""

import ast
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, make_url
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite
from sqlalchemy.exc import DataError, OperationalError

import sqlalchemy_cmk
from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.databases import DATABASES, Database, database_of
from sqlalchemy_cmk.databases.types import exact_text_type

PACKAGE = Path(sqlalchemy_cmk.__file__).parent
CONVERSIONS = PACKAGE / "alembic" / "conversion"
NAMES = {name for database in DATABASES for name in database.dialects} | {"mssql", "oracle"}

table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(9)))


def dialect_names(path: Path) -> Iterator[str]:
    """Every place of a file that asks for a dialect's name, or writes one, or imports a dialect."""
    for node in ast.walk(ast.parse(path.read_text())):
        found = ""
        match node:
            case ast.Attribute(value=ast.Name(id="dialect") | ast.Attribute(attr="dialect"), attr="name"):
                found = "dialect.name"
            case ast.Attribute(attr="is_mariadb" | "server_version_info" as attribute):
                found = attribute
            case ast.Constant(value=str(text)) if text.partition(":")[0].partition("+")[0] in NAMES:
                found = repr(text)
            case ast.ImportFrom(module=str(module)) if module.startswith("sqlalchemy.dialects"):
                found = module
        if found:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {found}"  # type: ignore[attr-defined]


def test_only_the_files_of_a_database_name_it() -> None:
    allowed = {CONVERSIONS / f"{database.key}.py" for database in DATABASES}
    named = []
    for path in PACKAGE.rglob("*.py"):
        if path not in allowed and PACKAGE / "databases" not in path.parents:
            named += dialect_names(path)
    assert named == []


def test_names_are_found_where_they_are_known_to_be() -> None:
    found = {
        line.partition(" ")[2]
        for path in (PACKAGE / "databases").rglob("*.py")
        for line in dialect_names(path)
    }
    assert {"dialect.name", "'mysql'", "'sqlite'", "'sqlite://'", "sqlalchemy.dialects.mysql"} <= found


def test_each_database_has_its_file_here_and_one_for_conversions() -> None:
    import_module("alembic.operations")  # loads the plugin, as it does for everybody
    contract = import_module("sqlalchemy_cmk.alembic.conversion.statements").ConversionStatements
    for database in DATABASES:
        assert database.__module__.startswith(f"sqlalchemy_cmk.databases.{database.key}")
        module = import_module(f"sqlalchemy_cmk.alembic.conversion.{database.key}")
        assert issubclass(module.Statements, contract)


@pytest.mark.parametrize(
    ("dialect", "key"),
    [
        (sqlite.dialect(), "sqlite"),
        (postgresql.dialect(), "postgresql"),
        (mysql.dialect(), "mariadb"),
        (create_engine("mariadb+pymysql://").dialect, "mariadb"),
        (mssql.dialect(), ""),
    ],
)
def test_a_database_is_found_by_its_dialect(dialect: Any, key: str) -> None:
    database = database_of(dialect)
    assert database.key == key and database.name == dialect.name and database.dialect is dialect


REFUSED: dict[str, Callable[[Database], Any]] = {
    "comparing": lambda database: database.exact(table.c.name),
    "a snapshot": lambda database: database.begin_snapshot(None),  # type: ignore[arg-type]
    "waiting for writers": lambda database: database.wait_for_writers(None, [table]),  # type: ignore[arg-type]
    "scrubbing": lambda database: database.scrub(None, "t", 1),  # type: ignore[arg-type]
    "keys in memory": lambda database: database.memory_engine(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_known_of_a_database_is_refused(what: str) -> None:
    with pytest.raises(ConfigurationError, match=r"it is not known how to .* on mssql"):
        REFUSED[what](database_of(mssql.dialect()))


def test_an_unknown_databases_error_is_neither_explained_nor_taken_for_a_conflict() -> None:
    database = database_of(mssql.dialect())
    error = OperationalError("UPDATE", {}, ValueError("'078-05-1120' is locked"))
    assert not database.is_conflict(error) and not database.is_misfit(error)
    assert database.is_misfit(DataError("UPDATE", {}, ValueError()))
    assert database.explain(error) == "ValueError"


def test_exact_text_is_bytes_where_collations_ignore_case() -> None:
    type_ = exact_text_type(10)
    assert type_.compile(dialect=mysql.dialect()) == "VARBINARY(40)"
    for dialect in (sqlite.dialect(), postgresql.dialect(), mssql.dialect()):
        assert type_.compile(dialect=dialect) == "VARCHAR(10)"


@pytest.mark.parametrize(
    ("url", "memory"),
    [
        ("sqlite://", True),
        ("sqlite:///:memory:", True),
        ("sqlite:///file:x?mode=memory&uri=true", True),
        ("sqlite:///x.db", False),
    ],
)
def test_sqlite_in_memory_is_known_by_its_url(url: str, memory: bool) -> None:
    assert database_of(sqlite.dialect()).is_in_memory(make_url(url)) is memory
    assert not database_of(postgresql.dialect()).is_in_memory(make_url(url))
