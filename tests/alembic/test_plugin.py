"""The plugin is there when Alembic is, in whichever way a release of Alembic loads it."""

import subprocess
import sys
from importlib.metadata import entry_points
from types import ModuleType

import pytest
from alembic.operations import BatchOperations, Operations

from sqlalchemy_cmk.alembic.registry.type_text import type_of, type_text


@pytest.mark.parametrize(
    "first", ["alembic", "alembic.op", "alembic.autogenerate", "alembic.operations", "sqlalchemy_cmk.alembic"]
)
def test_the_operations_are_there_whichever_module_is_imported_first(first: str) -> None:
    code = f"import {first}; from alembic.operations import Operations; Operations.reencrypt"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_batches_have_the_operations_on_a_table() -> None:
    assert hasattr(BatchOperations, "encrypt_column") and hasattr(BatchOperations, "decrypt_column")
    assert not hasattr(BatchOperations, "shred_tenant") and hasattr(Operations, "shred_tenant")


def test_the_entry_point_is_a_module_and_a_collection_of_it() -> None:
    # Releases from 1.18 to 1.20.0 iterate what it names; later ones take a module.
    (found,) = (one for one in entry_points(group="alembic.plugins") if "sqlalchemy_cmk" in one.name)
    plugin = found.load()
    assert isinstance(plugin, ModuleType)
    assert list(plugin) == [plugin]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text",
    [
        "os.system('true')",
        "sqlalchemy.sql.sqltypes.String(__import__('os').getpid())",
        "sqlalchemy.create_engine('sqlite://')",
        "subprocess.Popen(['true'])",
        "sqlalchemy.sql.sqltypes.Gone()",
        "no such text",
    ],
)
def test_the_text_of_a_type_can_run_nothing(text: str) -> None:
    assert type_of(text) is None


def test_the_text_of_a_type_comes_back_as_the_type() -> None:
    from tests.alembic.test_autogenerate import Address

    for text in ("list[tests.alembic.test_autogenerate.Address]", type_text(Address)):
        assert type_text(type_of(text)) == text
