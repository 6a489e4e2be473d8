"""After a table was sealed and scrubbed, its old plaintexts are searched for in the database's raw files."""

import mmap
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    select,
    text,
    update,
)
from sqlalchemy.pool import NullPool

from sqlalchemy_cmk import ConfigurationError, EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.rekey import scrub
from tests.hooks.adoption import make_binary
from tests.support.databases import Database
from tests.support.skips import unavailable

ROWS = 3000
# Where a database keeps what no rewrite of a table reaches, as `scrub` says.
LEFT: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": ("pg_wal/",),
    "mariadb": ("ib_logfile", "ibdata1", "undo"),
}


class Planted:
    """A table of plaintexts that all hold one random word, and the files in which it may be found."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.name = database.name
        self.engine: Engine = create_engine(database.url)
        if self.name == "sqlite":  # some systems build it to wipe what is deleted
            event.listen(self.engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA secure_delete = OFF"))
        self.word = secrets.token_hex(12)
        self.folder = folder
        self._fill()

    def _fill(self) -> None:
        plain = MetaData()
        columns = (Column("id", Integer, primary_key=True), Column("ssn", String(60), index=True))
        table = Table("patients", plain, *columns)
        plain.create_all(self.engine)
        with self.engine.begin() as connection:
            rows = [{"ssn": f"{self.word}-{number % 40}"} for number in range(ROWS)]
            connection.execute(table.insert(), rows)
        with self.autocommit() as connection:
            if self.name == "postgresql":
                connection.execute(text("ANALYZE patients"))
                assert self.word in str(
                    connection.execute(text("SELECT most_common_vals FROM pg_stats")).all()
                )
            connection.execute(
                text("DROP INDEX ix_patients_ssn" + (" ON patients" * (self.name == "mariadb")))
            )

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def seal(self, keyring: Keyring) -> None:
        """Seal every row where it is."""
        make_binary(self.engine, "patients", "ssn")
        metadata = MetaData()
        sealed = EncryptedType(String(60), accept_plaintext=True)
        table = Table("patients", metadata, Column("id", Integer, primary_key=True), Column("ssn", sealed))
        keyring.protect(metadata)
        metadata.create_all(self.engine)
        keyring.warm([""])
        with self.engine.begin() as connection:
            for number, value in connection.execute(select(table.c.id, table.c.ssn)).all():
                connection.execute(update(table).where(table.c.id == number).values(ssn=value))

    def flush(self) -> None:
        """Have the server write what it holds in memory."""
        with self.autocommit() as connection:
            if self.name == "postgresql":
                connection.execute(text("CHECKPOINT"))
            elif self.name == "mariadb":
                connection.execute(
                    text(
                        "SET GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_max_dirty_pages_pct_lwm = 0"
                    )
                )
                dirty = text("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")
                end = time.monotonic() + 20
                while int(connection.execute(dirty).one()[1]) and time.monotonic() < end:
                    time.sleep(0.1)

    def data(self) -> Path:
        if self.name == "sqlite":
            return self.folder
        query = "SHOW data_directory" if self.name == "postgresql" else "SELECT @@datadir"
        with self.engine.connect() as connection:
            return Path(str(connection.execute(text(query)).scalar_one()))

    def found(self) -> list[str]:
        """The files in which the word is."""
        self.flush()
        data = self.data()
        try:
            files = files_in(data)
        except OSError as error:
            unavailable(f"the files of the server cannot be read: {error}")
        return [str(one.relative_to(data)) for one in files if holds(one, self.word.encode())]


def files_in(folder: Path) -> list[Path]:
    """Every file in a folder, in order. Other tests' databases may go meanwhile."""

    def unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    walked = os.walk(folder, onerror=unless_gone)
    paths = (Path(where, name) for where, _, names in walked for name in names)
    return sorted(one for one in paths if one.is_file())


def holds(path: Path, word: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(word) >= 0
    except (FileNotFoundError, ValueError):  # a file that has gone, or is empty by now
        return False


@pytest.fixture
def planted(database: Database, tmp_path: Path) -> Iterator[Planted]:
    planted = Planted(database, tmp_path)
    yield planted
    planted.engine.dispose()


@pytest.fixture
def keyring(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    provider = LocalKeyProvider(tmp_path_factory.mktemp("keys") / "keys.json")
    keyring = Keyring(planted.engine, platform_key="local:pmk", providers=[provider])
    yield keyring
    keyring.close()


def elsewhere(planted: Planted, files: list[str]) -> list[str]:
    return [one for one in files if not one.startswith(LEFT[planted.name])]


def test_no_file_but_those_that_are_named_holds_an_old_plaintext(planted: Planted, keyring: Keyring) -> None:
    assert elsewhere(planted, planted.found()), "the search finds what is there"
    planted.seal(keyring)
    with planted.autocommit() as connection:
        unreached = scrub(connection, "patients")
    left = planted.found()
    assert elsewhere(planted, left) == []
    told = " ".join(unreached)
    for file in left:
        assert file.partition("/")[0].split(".")[0].rstrip("0123456789") in told, (file, told)
    assert "Backups" in told


def test_a_dropped_columns_plaintexts_are_gone_too(planted: Planted, keyring: Keyring) -> None:
    with planted.engine.begin() as connection:
        connection.execute(text("ALTER TABLE patients DROP COLUMN ssn"))
    assert elsewhere(planted, planted.found()), "dropping a column leaves its bytes"
    with planted.autocommit() as connection:
        scrub(connection, "patients")
    assert elsewhere(planted, planted.found()) == []


def test_sealing_alone_leaves_old_plaintexts(planted: Planted, keyring: Keyring) -> None:
    """What scrubbing is for."""
    planted.seal(keyring)
    assert planted.found()


def test_sqlites_write_ahead_log_is_emptied(tmp_path: Path, sqlite_database: Database) -> None:
    engine = create_engine(sqlite_database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("CREATE TABLE patients (ssn TEXT)")
        connection.exec_driver_sql("INSERT INTO patients VALUES ('planted word')")
        connection.exec_driver_sql("UPDATE patients SET ssn = 'sealed'")
        files = [one for one in tmp_path.iterdir() if one.is_file()]
        assert any(holds(one, b"planted word") for one in files)
        told = scrub(connection, "patients")
        assert not any(holds(one, b"planted word") for one in tmp_path.iterdir() if one.is_file())
        assert not any("write-ahead" in one for one in told)
        with engine.connect() as reader:
            reader.exec_driver_sql("BEGIN")
            reader.exec_driver_sql("SELECT * FROM patients").all()
            connection.exec_driver_sql("PRAGMA busy_timeout = 100")
            connection.exec_driver_sql("INSERT INTO patients VALUES ('another')")
            told = scrub(connection, "patients")
        assert any("write-ahead" in one for one in told)
    engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_statistics_that_may_not_be_rewritten_are_told(planted: Planted) -> None:
    with planted.autocommit() as connection:
        role = f"clerk_{planted.word}"
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"ALTER TABLE patients OWNER TO {role}"))
        connection.execute(text(f"SET ROLE {role}"))
        told = scrub(connection, "patients")
        connection.execute(text("RESET ROLE"))
        connection.execute(text("ALTER TABLE patients OWNER TO postgres"))
        connection.execute(text(f"DROP ROLE {role}"))
    assert any("only a superuser" in one for one in told)
    assert any("pg_read_all_stats" in one for one in told)


def begin_elsewhere(planted: Planted) -> Connection:
    """A transaction that writes in another database of the server."""
    other = create_engine(planted.engine.url.set(database="postgres"), poolclass=NullPool).connect()
    other.execute(text("SELECT pg_current_xact_id()"))
    return other


def begin_here(planted: Planted) -> Connection:
    """A transaction that only reads, in the same database."""
    other = planted.engine.connect().execution_options(isolation_level="REPEATABLE READ")
    other.execute(text("SELECT 1"))
    return other


@pytest.mark.parametrize("begin", [begin_here, begin_elsewhere])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_an_open_transaction_is_waited_for_or_told(
    planted: Planted, keyring: Keyring, begin: Callable[[Planted], Connection]
) -> None:
    with begin(planted) as other, planted.autocommit() as connection, ThreadPoolExecutor(1) as pool:
        planted.seal(keyring)
        told = scrub(connection, "patients", patience=0.3)
        assert any("still open" in one for one in told)
        assert elsewhere(planted, planted.found()), "what a transaction may see is kept"
        scrubbed = pool.submit(scrub, connection, "patients")
        time.sleep(0.3)
        assert not scrubbed.done()
        other.rollback()
        assert not any("still open" in one for one in scrubbed.result(60))
    assert elsewhere(planted, planted.found()) == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_transaction_is_refused(planted: Planted) -> None:
    with planted.engine.connect() as connection:
        connection.execute(text("UPDATE patients SET ssn = ssn"))
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
            scrub(connection, "patients")


def test_a_name_is_quoted(database: Database) -> None:
    engine = create_engine(database.url)
    name = 'odd "name" `of` a table'
    table = Table(name, MetaData(), Column("id", Integer, primary_key=True))
    table.create(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert scrub(connection, name)
    engine.dispose()
