"""What a test suite gets: a keyring and a tenant for each test, and --cmk-check."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

MODELS = """
    from datetime import date
    from sqlalchemy import String, create_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column
    from sqlalchemy_cmk import EncryptedType

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        __cmk_tenant__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str]
        text: Mapped[str] = mapped_column(EncryptedType(String(40)))
        code: Mapped[str] = mapped_column(EncryptedType(String(40), deterministic=True), default="x")
"""

SYNC = """
    import pytest
    from sqlalchemy import create_engine, event
    from sqlalchemy.orm import Session
    from models import Base

    @pytest.fixture(scope="session")
    def cmk_engine():
        engine = create_engine("sqlite:///test.db")
        event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        yield engine
        engine.dispose()

    @pytest.fixture(scope="session")
    def cmk_base():
        return Base

    @pytest.fixture
    def session(cmk_engine, cmk_keyring, cmk_tenant):
        with cmk_engine.connect() as connection:
            transaction = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                yield session
            transaction.rollback()
"""

ASYNC = """
    import pytest, pytest_asyncio
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from models import Base

    @pytest.fixture
    def cmk_engine(tmp_path_factory):
        return create_async_engine(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('database')}/test.db")

    @pytest.fixture
    def cmk_base():
        return Base

    @pytest_asyncio.fixture
    async def session(cmk_engine, cmk_keyring, cmk_tenant):
        async with cmk_engine.connect() as connection:
            transaction = await connection.begin()
            async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
                yield session
            await transaction.rollback()
        await cmk_engine.dispose()
"""

TESTS = """
    import pytest
    from sqlalchemy import select, text
    from models import Note

    @pytest.mark.parametrize("n", range(2))
    def test_a_row_is_sealed_and_gone_after_the_test(session, cmk_tenant, n):
        assert session.scalars(select(Note)).all() == []
        session.add(Note(owner=cmk_tenant, text="mine"))
        session.commit()
        assert session.scalar(text("select text from notes")) != "mine"
        session.expire_all()
        assert session.scalars(select(Note)).one().text == "mine"

    def test_the_next_test_needs_no_close(cmk_keyring):
        assert cmk_keyring.protected
"""

ASYNC_TESTS = """
    import pytest
    from sqlalchemy import select, text
    from models import Note

    @pytest.mark.asyncio
    @pytest.mark.parametrize("n", range(2))
    async def test_a_row_is_sealed_and_gone_after_the_test(session, cmk_tenant, n):
        assert (await session.scalars(select(Note))).all() == []
        session.add(Note(owner=cmk_tenant, text="mine"))
        await session.commit()
        assert await session.scalar(text("select text from notes")) != "mine"
        assert (await session.scalars(select(Note))).one().text == "mine"
"""

APPLICATION = """
    import tempfile
    from sqlalchemy import create_engine, func, select
    from sqlalchemy.orm import Session
    from sqlalchemy_cmk import Keyring
    from sqlalchemy_cmk.providers import LocalKeyProvider
    from models import Base, Note

    engine = create_engine("sqlite://")
    keyring = Keyring(
        engine, platform_key="local:pmk", providers=[LocalKeyProvider(f"{tempfile.mkdtemp()}/k.json")]
    )
    keyring.protect(Base)
    Base.metadata.create_all(engine)

    def search(session, part):
        return session.scalars(select(Note.id).where(Note.text.like(f"{part}%"))).all()  # line 16

    def newest(session):
        return session.scalars(select(Note.id).order_by(Note.text)).all()  # line 19
"""

APPLICATION_TESTS = """
    from sqlalchemy import text
    from sqlalchemy.orm import Session
    from application import Note, engine, newest, search

    def test_search():
        with Session(engine) as session:
            session.add(Note(owner="acme", text="mine"))
            session.commit()
            assert session.scalar(text("select text from notes")) == "mine"
            assert search(session, "mi") == search(session, "mi") == [1]

    def test_newest():
        with Session(engine) as session:
            newest(session)
"""


def make(pytester: pytest.Pytester, **files: str) -> None:
    pytester.makepyfile(models=MODELS, **files)


def test_a_session_is_rolled_back_for_each_test_and_each_run(pytester: pytest.Pytester) -> None:
    make(pytester, conftest=SYNC, test_it=TESTS)
    for _ in range(2):  # the second run finds the tables and the keys of the first
        pytester.runpytest_subprocess("-q").assert_outcomes(passed=3)


def test_an_async_session_is_rolled_back_for_each_test(pytester: pytest.Pytester) -> None:
    make(pytester, conftest=ASYNC, test_it=ASYNC_TESTS)
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=2)


def test_a_suite_that_names_no_engine_is_told_how(pytester: pytest.Pytester) -> None:
    make(pytester, test_it="def test_it(cmk_tenant): pass")
    result = pytester.runpytest_subprocess("-q")
    result.stdout.fnmatch_lines(["*needs cmk_engine: define it in conftest.py*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "in workers"])
def test_what_sealing_would_refuse_is_listed_with_its_line(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    make(pytester, application=APPLICATION, test_it=APPLICATION_TESTS)
    result = pytester.runpytest_subprocess("--cmk-check", "-p", "no:cacheprovider", *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*DRY RUN, nothing is sealed*",
            "*cmk check: what sealing would refuse*",
            "application.py:16: text is sealed: LIKE *",
            "*answered by index=?Prefix()?",
            "application.py:19: ORDER BY notes.text: *",
            "*answered by index=?Ordered(lowest, highest)?*",
            "test_it.py:9: SQL text names notes.text*",
            "3 refusals in 3 places",
        ]
    )
    assert result.stdout.str().count("application.py:16") == 1


def test_without_the_option_values_are_sealed_and_statements_refused(pytester: pytest.Pytester) -> None:
    make(pytester, application=APPLICATION, test_it=APPLICATION_TESTS)
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(failed=2)
    assert "cmk check" not in result.stdout.str()


def test_the_fixtures_check_too(pytester: pytest.Pytester) -> None:
    make(pytester, conftest=SYNC, test_it="""
        from sqlalchemy import select, text
        from models import Note

        def test_it(session, cmk_tenant):
            session.add(Note(owner=cmk_tenant, text="mine"))
            session.flush()
            assert session.scalar(text("select text from notes")) == "mine"
            session.scalars(select(Note.id).where(Note.text == "mine"))
    """)  # fmt: skip
    result = pytester.runpytest_subprocess("-q", "--cmk-check")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["test_it.py:7: SQL text*", "test_it.py:8: text is sealed*", "*answered by deterministic=True"]
    )


def test_the_file_of_a_test_is_named_as_it_is_seen_from_here(pytester: pytest.Pytester) -> None:
    from sqlalchemy_cmk.runtime.places import Place

    assert str(Place(str(Path.cwd() / "app" / "models.py"), 3)) == "app/models.py:3"
    assert str(Place("/elsewhere/models.py", 3)) == "/elsewhere/models.py:3"
