"""What alembic_private.py takes from Alembic without a public way; a release that changes it fails here."""

import inspect
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import Operations

from sqlalchemy_cmk.alembic import alembic_private as private

OPTIONS: dict[str, Any] = {
    "sqlalchemy_module_prefix": "sa.",
    "alembic_module_prefix": "op.",
    "user_module_prefix": None,
    "render_item": None,
}


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (sa.String(10), "sa.String(length=10)"),
        (sa.Numeric(10, 2), "sa.Numeric(precision=10, scale=2)"),
        (sa.Enum("a'__cmk__', b", name="e"), """sa.Enum("a'__cmk__', b", name='e')"""),
        (sa.LargeBinary(8).with_variant(sa.BINARY(8), "mysql"), "sa.LargeBinary(length=8).with_variant("
         "sa.BINARY(length=8), 'mysql')"),
    ],
)  # fmt: skip
def test_rendered_type_is_the_types_own_text(type_: Any, text: str) -> None:
    context = MigrationContext.configure(dialect_name="sqlite", opts=OPTIONS)
    assert private.rendered_type(type_, AutogenContext(context, sa.MetaData())) == text


@pytest.mark.parametrize("schema", [None, "main"])
def test_batch_table_is_the_table_that_was_named(schema: str | None) -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER)"))
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("t", schema=schema) as batch:
            assert private.batch_table(batch) == ("t", schema)


def test_write_comment_writes_into_the_script() -> None:
    script = StringIO()
    context = MigrationContext.configure(
        dialect_name="sqlite", opts={"as_sql": True, "output_buffer": script}
    )
    private.write_comment(Operations(context), "a word")
    assert script.getvalue().strip() == "-- a word"


def functions() -> list[str]:
    found = inspect.getmembers(private, inspect.isfunction)
    return [name for name, one in found if one.__module__ == private.__name__]


@pytest.mark.parametrize("name", functions())
def test_every_function_is_watched_here(name: str) -> None:
    assert any(test.startswith(f"test_{name}_") for test in globals())
