"""What a writer to the database plants in the table of sealed columns becomes no code in a migration."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, text

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.alembic.registry.type_text import type_of
from tests.alembic.conftest import Project
from tests.alembic.test_schemes import made, models, ssn

BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00", "\x1b[2K", "\u202e"]
# As a comment, in each kind of string, and as a call: the code writes a file that tells on it.
CODE = [
    "{b}import os; os.mkdir('planted')",
    "'){b}    __import__('os').mkdir('planted'){b}#",
    '"){b}    __import__("os").mkdir("planted"){b}#',
    "\\'){b}    __import__('os').mkdir('planted'){b}#",
    '"""{b}__import__("os").mkdir("planted"){b}"""',
    "{{__import__('os').mkdir('planted')}}${{__import__('os').mkdir('planted')}}",
    "<%{b}import os; os.mkdir('planted'){b}%>",
]
NASTY = [code.format(b=one) for one in BREAKS for code in CODE]
QUOTES = [code.format(b=" ") for code in CODE]


def plant(project: Project, **columns: str) -> None:
    with project.engine.begin() as connection:
        for name, value in columns.items():
            connection.execute(text(f"UPDATE cmk_columns SET {name} = :value"), {"value": value})


def plant_option(project: Project, name: str, value: Any) -> None:
    with project.engine.connect() as connection:
        scheme = json.loads(connection.execute(text("SELECT scheme FROM cmk_columns")).scalar_one())
    plant(project, scheme=json.dumps({**scheme, name: value}))


@pytest.fixture
def project(sqlite_project: Project) -> Project:
    return made(sqlite_project, models(ssn()))


def shape(code: str) -> list[str]:
    """The nodes of a migration's tree, in order, without what their strings say."""
    return [type(one).__name__ for one in ast.walk(ast.parse(code))]


def generated(project: Project) -> str:
    """The migration that autogenerate writes now; its file is taken back."""
    found = project.autogenerate()
    (head,) = (one for one in project.revisions() if one.is_head)
    Path(head.path).unlink()
    return found


@pytest.mark.parametrize("column", ["schema_name", "table_name", "column_name"])
def test_a_name_that_cannot_be_printed_is_refused(project: Project, column: str) -> None:
    for name in NASTY:
        if name.isprintable():
            continue
        plant(project, **{column: name})
        with pytest.raises(ConfigurationError, match="does not say how") as caught:
            project.autogenerate()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("option", ["tenant_column", "row_columns"])
def test_so_is_the_name_of_a_tenant_column_or_of_a_row_identity(project: Project, option: str) -> None:
    for name in ("id\nimport os", "id\u2028import os", "id\x85import os"):
        plant_option(project, option, name if option == "tenant_column" else {name: ""})
        with pytest.raises(ConfigurationError, match="does not say how"):
            project.autogenerate()


@pytest.mark.parametrize("code", QUOTES)
@pytest.mark.parametrize("column", ["table_name", "column_name"])
def test_a_name_that_can_be_printed_is_quoted(project: Project, column: str, code: str) -> None:
    project.models(MetaData())
    plant(project, **{column: "gone"})
    plain = generated(project)
    plant(project, **{column: code})
    found = generated(project)
    assert shape(found) == shape(plain) and repr(code) in found


@pytest.mark.parametrize("code", [*QUOTES, *(one for one in NASTY if not one.isprintable())][::5])
def test_a_context_is_quoted_and_its_comments_stay_on_their_line(project: Project, code: str) -> None:
    texts = []
    for context in ("an old name", code):
        plant_option(project, "context", context)
        project.models(models(ssn(deterministic=True)))
        texts.append(generated(project))
    plain, found = texts
    assert "an old name" in plain and repr(code) in found
    assert shape(found) == shape(plain) and len(found.splitlines()) == len(plain.splitlines())


@pytest.mark.parametrize(
    "type_text",
    [
        "__import__('os').mkdir('planted')",
        "sqlalchemy.sql.sqltypes.String(length=__import__('os').mkdir('planted'))",
        "sqlalchemy.sql.sqltypes.ARRAY(http.server.HTTPServer)",
        "sqlalchemy.sql.sqltypes.ARRAY(threading.Thread)",
        "sqlalchemy.sql.sqltypes.PickleType(pickler=subprocess.Popen)",
        "sqlalchemy.sql.sqltypes.String(collation='x\\n')",
        "-" * 100_000 + "1",
        "(" * 100_000,
        "a" + ".a" * 50_000,
        "sqlalchemy.sql.sqltypes.String(length=1) if 1 else 2",
        "lambda: 1",
        "[x for x in (1).__class__.__base__.__subclasses__()]",
    ],
)
def test_no_type_in_the_table_of_sealed_columns_is_run(project: Project, type_text: str) -> None:
    plant_option(project, "type", type_text)
    project.models(models(ssn(deterministic=True)))
    assert shape(project.autogenerate())
    assert not Path("planted").exists()


def test_a_class_that_is_no_type_is_not_made() -> None:
    made_here: list[object] = []

    class Bait:
        def __init__(self) -> None:
            made_here.append(self)

    globals()["Bait"] = Bait
    Bait.__qualname__ = "Bait"
    assert type_of(f"sqlalchemy.sql.sqltypes.ARRAY({__name__}.Bait)") is None
    assert made_here == []
