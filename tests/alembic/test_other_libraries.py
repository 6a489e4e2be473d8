"""A column that another library has encrypted becomes ours where its type is known, or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Column, Integer, MetaData, String, Table, TypeDecorator, insert, select
from sqlalchemy.exc import ProgrammingError

from sqlalchemy_cmk import ConfigurationError, EncryptedType
from tests.alembic.conftest import Project
from tests.conftest import empty_database
from tests.support.databases import Database
from tests.support.old_types import (
    KEY,
    OLD_BYTES,
    OLD_FERNET,
    OLD_PHONE,
    OLD_TYPES,
    AesGcmEngine,
    EncryptedString,
    FernetEngine,
    Phone,
    PhoneType,
    StringEncryptedType,
)

SSN = "078-05-1120"
BY_SQLALCHEMY_UTILS = "ignore:TypeDecorator EncryptedType.* will not produce a cache key"
SEALED = EncryptedType(String(11))


@pytest.fixture(params=["postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of a kind whose columns take values of their own type only."""
    yield from empty_database(request)


def people(**columns: Any) -> MetaData:
    metadata = MetaData()
    own = (Column(name, type_) for name, type_ in columns.items())
    Table("people", metadata, Column("id", Integer, primary_key=True), *own)
    return metadata


def created(project: Project, values: int = 3, **columns: Any) -> Table:
    """A table as the application had it, with its key tables and rows, which no migration has made."""
    table = people(**columns).tables["people"]
    table.create(project.engine)
    with project.engine.begin() as connection:
        row = {name: Phone(SSN) if type_ is OLD_PHONE else SSN for name, type_ in columns.items()}
        connection.execute(insert(table), [row] * values)
    project.models(people(**columns))
    project.keyring.database.tables.deks.metadata.create_all(project.engine)
    return table


def stored(project: Project, column: str = "ssn") -> list[Any]:
    with project.engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT {column} FROM people ORDER BY id").scalars())


def read(project: Project, *columns: str) -> list[tuple[Any, ...]]:
    table = project.metadata.tables["people"]
    project.keyring.protect(project.metadata)
    with project.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*(table.c[one] for one in columns)))]


def adopt(project: Project) -> None:
    created(project, **OLD_TYPES)
    project.models(people(**{name: EncryptedType(String(40)) for name in OLD_TYPES}))
    text = project.autogenerate()
    assert "\nimport tests.support.old_types\n" in text
    for name in OLD_TYPES:
        assert f"tests.support.old_types.OLD_{name.upper()}" in text
    assert KEY not in text
    project.upgrade()
    assert read(project, *OLD_TYPES) == [(SSN,) * len(OLD_TYPES)] * 3
    assert project.autogenerate() == ""
    project.downgrade()
    project.models(people(**OLD_TYPES))
    assert read(project, *OLD_TYPES) == [(SSN,) * len(OLD_TYPES)] * 3


@pytest.mark.filterwarnings(BY_SQLALCHEMY_UTILS)
def test_autogenerate_imports_the_type_that_opens_the_values_and_the_downgrade_encrypts_them_again(
    sqlite_project: Project,
) -> None:
    adopt(sqlite_project)


@pytest.mark.filterwarnings(BY_SQLALCHEMY_UTILS)
def test_a_column_of_a_servers_own_type_goes_both_ways_too(project: Project) -> None:
    adopt(project)


@pytest.mark.parametrize(
    ("old", "looks"),
    [
        (StringEncryptedType(String, f"{KEY}-unknown", FernetEngine), "Fernet tokens"),
        (StringEncryptedType(String, f"{KEY}-unknown", AesGcmEngine), "base64 of encrypted bytes"),
        (StringEncryptedType(String, f"{KEY}-unknown"), "base64 of encrypted bytes"),
        (EncryptedString(key=f"{KEY}-unknown"), "Fernet tokens"),
    ],
    ids=["fernet", "gcm", "cbc", "advanced-alchemy"],
)
def test_what_no_known_type_opens_is_refused_with_the_line_to_write(
    sqlite_project: Project, old: Any, looks: str
) -> None:
    created(sqlite_project, ssn=old)
    before = stored(sqlite_project)
    sqlite_project.models(people(ssn=SEALED))
    with pytest.raises(ConfigurationError, match=looks) as caught:
        sqlite_project.autogenerate()
    line = (
        "op.encrypt_column('people', 'ssn', EncryptedType(sa.String(length=11)),"
        " existing_type=OLD_TYPE, existing_nullable=True)"
    )
    assert line in " ".join(str(caught.value).split())
    assert KEY not in str(caught.value)
    # Written by hand without the type that the column had, it is refused before anything changes.
    sqlite_project.revision(
        "op.encrypt_column('people', 'ssn', EncryptedType(sa.String(11)), existing_type=sa.String())"
    )
    with pytest.raises(ConfigurationError, match=r"existing_type=OLD_TYPE(.|\n)*existing_plaintexts=True"):
        sqlite_project.upgrade()
    assert stored(sqlite_project) == before


def test_values_that_really_are_tokens_are_sealed_where_the_migration_says_so(
    sqlite_project: Project,
) -> None:
    token = Fernet(Fernet.generate_key()).encrypt(b"a message").decode()
    table = people(ssn=String(200)).tables["people"]
    created(sqlite_project, ssn=String(200))
    with sqlite_project.engine.begin() as connection:
        connection.execute(table.update().values(ssn=token))
    sqlite_project.models(people(ssn=EncryptedType(String(200))))
    sqlite_project.revision(
        "op.encrypt_column('people', 'ssn', EncryptedType(sa.String(200)), existing_type=sa.String(200), "
        "existing_plaintexts=True)"
    )
    sqlite_project.upgrade()
    assert read(sqlite_project, "ssn") == [(token,)] * 3


def test_one_token_among_plain_values_is_found_wherever_it_is(sqlite_project: Project) -> None:
    created(sqlite_project, 500, ssn=String(200))
    token = Fernet(Fernet.generate_key()).encrypt(b"a message").decode()
    with sqlite_project.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE people SET ssn = ? WHERE id = 480", (token,))
    sqlite_project.models(people(ssn=EncryptedType(String(200))))
    with pytest.raises(ConfigurationError, match="Fernet tokens"):
        sqlite_project.autogenerate()


def test_a_wrong_key_is_named_before_anything_changes(sqlite_project: Project) -> None:
    created(sqlite_project, ssn=StringEncryptedType(String, f"{KEY}-another", FernetEngine))
    sqlite_project.models(people(ssn=SEALED))
    sqlite_project.revision(
        "from tests.support.old_types import OLD_FERNET\n"
        "    op.encrypt_column('people', 'ssn', EncryptedType(sa.String(11)), existing_type=OLD_FERNET)"
    )
    before = stored(sqlite_project)
    with pytest.raises(ConfigurationError, match=r"does not open the stored values \(InvalidToken\)"):
        sqlite_project.upgrade()
    assert stored(sqlite_project) == before


def test_objects_are_sealed_by_their_own_type_or_refused_with_the_adapter(sqlite_project: Project) -> None:
    created(sqlite_project, ssn=OLD_PHONE)
    sqlite_project.models(people(ssn=SEALED))
    write = (
        "import tests.support.old_types as old\n"
        "    op.encrypt_column('people', 'ssn', EncryptedType({}), existing_type=old.OLD_PHONE)"
    )
    sqlite_project.revision(write.format("sa.String(11)"))
    with pytest.raises(ConfigurationError, match=r"objects of tests\.support\.old_types\.Phone") as caught:
        sqlite_project.upgrade()
    adapter = str(caught.value).partition("migration:\n")[2]
    names: dict[str, Any] = {"TypeDecorator": TypeDecorator, "String": String, "Phone": Phone}
    exec("if True:\n" + adapter, names)
    made = EncryptedType(names["PhoneType"](11))
    assert made.codec.encode(Phone(SSN)) == SSN.encode()
    sqlite_project.models(people(ssn=EncryptedType(PhoneType(11))))
    path = Path(sqlite_project.revisions()[0].path)
    path.write_text(
        path.read_text().replace("EncryptedType(sa.String(11))", "EncryptedType(old.PhoneType(11))")
    )
    sqlite_project.upgrade()
    assert [str(row[0]) for row in read(sqlite_project, "ssn")] == [SSN] * 3


def test_a_model_that_reads_the_old_values_is_adopted_without_sealing_a_row(sqlite_project: Project) -> None:
    created(sqlite_project, ssn=OLD_FERNET)
    before = stored(sqlite_project)
    sqlite_project.models(people(ssn=EncryptedType(String(11), accept_legacy=[OLD_FERNET])))
    text = " ".join(sqlite_project.autogenerate().split())
    held = "tests.support.old_types.OLD_FERNET"
    assert f"EncryptedType(sa.String(length=11), accept_legacy=[{held}]), existing_type={held}," in text
    assert "mixed=True" in text and KEY not in text
    sqlite_project.upgrade()
    assert stored(sqlite_project) == before
    assert read(sqlite_project, "ssn") == [(SSN,)] * 3
    sqlite_project.revision("op.reencrypt('people')")
    sqlite_project.upgrade()
    assert all(isinstance(one, bytes) and one[0] == 1 for one in stored(sqlite_project))
    sqlite_project.models(people(ssn=SEALED))  # the option is taken away
    assert read(sqlite_project, "ssn") == [(SSN,)] * 3
    assert sqlite_project.autogenerate() == ""
    sqlite_project.downgrade("base")
    sqlite_project.models(people(ssn=OLD_FERNET))
    assert read(sqlite_project, "ssn") == [(SSN,)] * 3


def test_an_old_type_without_a_name_is_refused(sqlite_project: Project) -> None:
    created(sqlite_project, ssn=OLD_FERNET)
    nameless = StringEncryptedType(String, f"{KEY}-fernet", FernetEngine)
    sqlite_project.models(people(ssn=EncryptedType(String(11), accept_legacy=[nameless])))
    with pytest.raises(ConfigurationError, match="under a name in a module"):
        sqlite_project.autogenerate()


def side_by_side(project: Project, old: Any) -> None:
    before = created(project, ssn=old)
    project.models(people(ssn=EncryptedType(String(11), accept_legacy=[old])))
    project.autogenerate()
    project.upgrade()
    project.keyring.protect(project.metadata)
    project.keyring.warm([""])
    after = project.metadata.tables["people"]
    with project.engine.begin() as connection:
        assert connection.scalars(select(before.c.ssn)).all() == [SSN] * 3
        connection.execute(insert(before), [{"ssn": "by the old"}])
        connection.execute(insert(after), [{"ssn": "by the new"}])
        found = connection.scalars(select(after.c.ssn).order_by(after.c.id)).all()
    assert found == [*[SSN] * 3, "by the old", "by the new"]


def test_old_and_new_versions_share_a_column_of_text_on_sqlite(sqlite_project: Project) -> None:
    side_by_side(sqlite_project, OLD_FERNET)


@pytest.mark.filterwarnings(BY_SQLALCHEMY_UTILS)
def test_old_and_new_versions_share_a_column_of_bytes_everywhere(project: Project) -> None:
    side_by_side(project, OLD_BYTES)


def test_a_server_refuses_what_an_old_version_writes_into_a_column_that_was_text(project: Project) -> None:
    before = created(project, ssn=OLD_FERNET)
    project.models(people(ssn=EncryptedType(String(11), accept_legacy=[OLD_FERNET])))
    project.autogenerate()
    project.upgrade()
    assert read(project, "ssn") == [(SSN,)] * 3
    with project.engine.begin() as connection, pytest.raises(ProgrammingError):
        connection.execute(insert(before), [{"ssn": SSN}])
