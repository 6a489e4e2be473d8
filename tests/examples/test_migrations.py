"""The example's migrations, up and down on every database."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable, Sealed
from sqlalchemy_cmk.alembic import jobs
from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.keys.indexes import records
from tests.examples.history import HILLSIDE, RIVERSIDE, SSN, History, patients
from tests.support.databases import Database
from tests.support.keys import adopt

PMK, CMK, NEW_CMK = "local:pmk", "local:hillside", "local:hillside-2"


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process is waited for that would have to notice an index."""
    monkeypatch.setattr(records, "SETTLED_AFTER", 0.0)


@pytest.fixture
def by_async_driver() -> bool:
    """Whether migrations and keyrings reach the database by an asynchronous driver."""
    return False


@pytest.fixture
def history(tmp_path: Path, database: Database, by_async_driver: bool) -> Iterator[History]:
    made = History(tmp_path, database.url, database.async_url if by_async_driver else None)
    yield made
    made.close()


@pytest.fixture
def sealed(history: History) -> History:
    """A clinic whose columns are sealed."""
    history.schema("plain")
    history.add_plain(patients())
    history.schema("head")
    return history


def of(clinic: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["clinic"] == clinic]


def assert_read(history: History, *clinics: str, rows: list[dict[str, Any]] | None = None) -> None:
    for clinic in clinics:
        assert history.read(clinic) == of(clinic, rows or patients())


def assert_sealed_under_active(history: History, clinic: str) -> None:
    deks = history.deks(clinic)
    for name, found in history.sealed_under(clinic).items():
        assert found == {deks["deterministic" if name == "email" else "randomized"]}, name


@pytest.mark.parametrize(
    ("database", "by_async_driver"),
    [("sqlite", False), ("postgresql", False), ("mariadb", False), ("postgresql", True)],
    indirect=["database"],
)
def test_the_whole_history_goes_up_and_down_to_the_same_bytes(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "PROGRESS_SECONDS", 0)
    caplog.set_level(logging.INFO, "alembic")
    history.schema("plain")
    history.add_plain(patients())
    before = history.plain()
    history.schema("key_tables")
    assert history.plain() == before

    history.schema("sealed")
    assert history.heads("alembic") == {"sealed"}
    assert_read(history, RIVERSIDE, HILLSIDE)
    for clinic in (RIVERSIDE, HILLSIDE):
        assert_sealed_under_active(history, clinic)
        assert history.wrapped_by(clinic) == {history.newest(PMK)}

    history.schema("indexed")
    assert [history.starting_with(clinic, "ZOE\u0308 \u00e5") for clinic in (RIVERSIDE, HILLSIDE)] == [4, 4]
    assert history.starting_with(HILLSIDE, "zoo") == 0
    command.check(history.config())

    _rotate(history)
    _bring_own_key(history)
    _follow_kek_rotation(history)
    assert "8 of about 8 rows" in caplog.text and "2 of about 2 tenants" in caplog.text
    _rescue(history)
    _move(history)
    command.check(history.config())

    history.keys("-base")
    assert history.wrapped_by(HILLSIDE) == history.wrapped_by(RIVERSIDE) == {history.newest(PMK)}
    history.storage.provider.disable(NEW_CMK)
    history.storage.keyring.forget(HILLSIDE)
    assert_read(history, RIVERSIDE, HILLSIDE)
    history.schema("-plain")
    assert history.plain() == before
    history.schema("-base")


def _rotate(history: History) -> None:
    old, theirs = history.deks(RIVERSIDE), of_stored(history, HILLSIDE)
    history.keys("rotate_dek", f"tenant={RIVERSIDE}")
    new = history.deks(RIVERSIDE)
    assert history.sealed_under(RIVERSIDE)["name"] == {old["randomized"]}
    history.keys("reencrypted", f"tenant={RIVERSIDE}")
    assert new["deterministic"] == old["deterministic"] and new["randomized"] != old["randomized"]
    assert history.deks(RIVERSIDE, "retired") == {"randomized": old["randomized"]}
    assert_sealed_under_active(history, RIVERSIDE)
    assert of_stored(history, HILLSIDE) == theirs
    assert_read(history, RIVERSIDE, HILLSIDE)


def _bring_own_key(history: History) -> None:
    rows = history.stored()
    history.keys("own_key", f"tenant={HILLSIDE}", f"kek={CMK}")
    assert history.stored() == rows
    assert history.wrapped_by(HILLSIDE) == {history.newest(CMK)}
    assert history.wrapped_by(RIVERSIDE) == {history.newest(PMK)}
    assert_read(history, RIVERSIDE, HILLSIDE)


def _follow_kek_rotation(history: History) -> None:
    rows, old = history.stored(), {history.newest(PMK), history.newest(CMK)}
    for kek in (PMK, CMK):
        history.storage.provider.rotate(kek)
    history.keys("kek_rotated")
    assert history.stored() == rows
    assert history.wrapped_by(RIVERSIDE) == {history.newest(PMK)}
    assert history.wrapped_by(HILLSIDE) == {history.newest(CMK)}
    assert not old & {history.newest(PMK), history.newest(CMK)}
    assert_read(history, RIVERSIDE, HILLSIDE)


def _rescue(history: History) -> None:
    rows = history.stored()
    history.keys("rescued")
    assert history.wrapped_by(HILLSIDE) == {history.newest(PMK)}
    history.storage.provider.disable(CMK)
    history.storage.keyring.forget(HILLSIDE)
    assert_read(history, RIVERSIDE, HILLSIDE)
    history.storage.provider.enable(CMK)
    history.keys("-kek_rotated")
    assert history.wrapped_by(HILLSIDE) == {history.newest(CMK)} and history.stored() == rows


def _move(history: History) -> None:
    old, others = history.deks(HILLSIDE), of_stored(history, RIVERSIDE)
    history.keys("moved_rows", f"tenant={HILLSIDE}", f"kek={NEW_CMK}")
    assert history.wrapped_by(HILLSIDE) == {history.newest(NEW_CMK)}
    assert history.deks(HILLSIDE)["randomized"] != old["randomized"]
    assert_sealed_under_active(history, HILLSIDE)
    assert of_stored(history, RIVERSIDE) == others
    history.storage.switch(HILLSIDE, on=False)
    assert_read(history, RIVERSIDE, HILLSIDE)


def of_stored(history: History, clinic: str) -> list[tuple[Any, ...]]:
    return [row for row in history.stored() if row[1] == clinic]


def test_no_plain_value_is_left_in_the_file_after_the_columns_are_sealed(
    tmp_path: Path, sqlite_database: Database
) -> None:
    history = History(tmp_path, sqlite_database.url)
    history.schema("plain")
    history.add_plain(patients())
    file = Path(sqlite_database.url.removeprefix("sqlite:///"))
    assert SSN.format(1).encode() in file.read_bytes()
    history.schema("head")
    history.close()
    content = file.read_bytes()
    assert [row["ssn"] for row in patients() if row["ssn"].encode() in content] == []
    assert b"ngstr" not in content and b"example.org" not in content


def test_a_tenant_that_was_created_later_lives_through_the_history_too(sealed: History) -> None:
    later = {**patients()[0], "id": 100, "clinic": "lakeside"}
    sealed.add(**later)
    sealed.keys("kek_rotated", "tenant=lakeside", "kek=local:lakeside")
    assert sealed.wrapped_by("lakeside") == {sealed.newest("local:lakeside")}
    assert sealed.read("lakeside") == [later]


def test_a_tenant_is_rescued_only_while_its_key_opens_and_stays_sealed_until_then(sealed: History) -> None:
    sealed.keys("kek_rotated")
    rows, wrapped = sealed.stored(), sealed.wrapped_by(HILLSIDE)
    sealed.storage.switch(HILLSIDE, on=False)
    with pytest.raises(KeyRevoked):
        sealed.keys("rescued")
    assert (sealed.stored(), sealed.wrapped_by(HILLSIDE)) == (rows, wrapped)
    assert all(isinstance(row["ssn"], Sealed) for row in sealed.read(HILLSIDE))
    assert_read(sealed, RIVERSIDE)
    sealed.storage.switch(HILLSIDE, on=True)
    sealed.keys("rescued")
    assert sealed.wrapped_by(HILLSIDE) == {sealed.newest(PMK)}
    assert_read(sealed, RIVERSIDE, HILLSIDE)


def test_a_tenant_is_moved_only_while_its_key_opens(sealed: History) -> None:
    sealed.keys("kek_rotated")
    rows, wrapped = sealed.stored(), sealed.wrapped_by(HILLSIDE)
    sealed.storage.switch(HILLSIDE, on=False)
    with pytest.raises(KeyRevoked):
        sealed.keys("moved")
    assert (sealed.stored(), sealed.wrapped_by(HILLSIDE)) == (rows, wrapped)
    assert sealed.heads("keys") == {"kek_rotated"}
    sealed.storage.switch(HILLSIDE, on=True)
    sealed.keys("moved")
    assert sealed.wrapped_by(HILLSIDE) == {sealed.newest(NEW_CMK)}
    assert_read(sealed, RIVERSIDE, HILLSIDE)


def test_sealing_is_undone_only_while_every_key_opens(sealed: History) -> None:
    sealed.keys("own_key")
    sealed.storage.switch(HILLSIDE, on=False)
    with pytest.raises(KeyUnavailable, match=HILLSIDE):
        sealed.schema("-plain")
    assert sealed.heads("alembic") == {"sealed"}
    assert_read(sealed, RIVERSIDE)
    sealed.storage.switch(HILLSIDE, on=True)
    assert_read(sealed, RIVERSIDE, HILLSIDE)
    sealed.schema("-plain")
    assert [row[3] for row in sealed.plain()[0]] == [row["ssn"] for row in patients()]


def test_a_key_goes_back_to_the_platform_only_while_it_opens(sealed: History) -> None:
    sealed.keys("own_key")
    wrapped = sealed.wrapped_by(HILLSIDE)
    sealed.storage.switch(HILLSIDE, on=False)
    with pytest.raises(KeyRevoked):
        sealed.keys("-reencrypted")
    assert sealed.wrapped_by(HILLSIDE) == wrapped
    sealed.storage.switch(HILLSIDE, on=True)
    sealed.keys("-reencrypted")
    assert sealed.wrapped_by(HILLSIDE) == {sealed.newest(PMK)}


def test_a_tenant_whose_key_is_gone_is_shredded_for_good(sealed: History) -> None:
    sealed.keys("kek_rotated")
    sealed.storage.switch(HILLSIDE, on=False)
    rows = sealed.stored()
    with pytest.raises(ConfigurationError, match="nothing was shredded"):
        sealed.keys("shredded")
    assert sealed.wrapped_by(HILLSIDE) != set()
    sealed.keys("shredded", f"confirm={HILLSIDE}")
    assert sealed.wrapped_by(HILLSIDE) == set() and sealed.stored() == rows
    sealed.storage.switch(HILLSIDE, on=True)
    assert all(isinstance(row["ssn"], Sealed) for row in sealed.read(HILLSIDE))
    assert_read(sealed, RIVERSIDE)
    with pytest.raises(UnsupportedOperation, match="nobody can bring its data back"):
        sealed.keys("-kek_rotated")
    with pytest.raises(KeyUnavailable, match=r"the first 'hillside': DEK .* has been destroyed"):
        sealed.schema("-plain")
    assert sealed.heads("alembic") == {"sealed"}
    assert_read(sealed, RIVERSIDE)
    sealed.keys("offboarded", f"confirm={HILLSIDE}")
    assert of_stored(sealed, HILLSIDE) == []
    sealed.schema("-plain")
    assert [row[0] for row in sealed.plain()[0]] == [row["id"] for row in of(RIVERSIDE, patients())]


def test_a_tenant_that_leaves_leaves_neither_rows_nor_keys(sealed: History) -> None:
    sealed.keys("kek_rotated")
    with pytest.raises(ConfigurationError, match="nothing was shredded"):
        sealed.keys("offboarded", f"tenant={HILLSIDE}", "confirm=hilside")
    assert_read(sealed, RIVERSIDE, HILLSIDE)
    sealed.keys("offboarded", f"tenant={HILLSIDE}", f"confirm={HILLSIDE}")
    assert sealed.wrapped_by(HILLSIDE) == set() and of_stored(sealed, HILLSIDE) == []
    assert_read(sealed, RIVERSIDE)
    with pytest.raises(UnsupportedOperation, match="rows deleted"):
        sealed.keys("-base")
    sealed.schema("-plain")
    assert [row[0] for row in sealed.plain()[0]] == [row["id"] for row in of(RIVERSIDE, patients())]


def test_a_retired_dek_is_destroyed_when_nobody_needs_it_any_more(sealed: History) -> None:
    sealed.keys("kek_rotated")
    retired = sealed.deks(RIVERSIDE, "retired")
    with pytest.raises(ConfigurationError, match="other processes may seal under it"):
        sealed.keys("retired_dropped")
    assert sealed.deks(RIVERSIDE, "retired") == retired
    with sealed.engine.begin() as connection:
        connection.execute(text("UPDATE cmk_deks SET retired_at = '2020-01-01' WHERE retired_at IS NOT NULL"))
    adopt(sealed.storage.keyring)
    sealed.keys("retired_dropped")
    assert sealed.deks(RIVERSIDE, "retired") == {} and sealed.deks(RIVERSIDE, "destroyed") == retired
    assert_read(sealed, RIVERSIDE, HILLSIDE)
    with pytest.raises(UnsupportedOperation, match="retired DEKs were destroyed"):
        sealed.keys("-kek_rotated")


def test_keys_have_no_history_before_the_schema_has_key_tables(history: History) -> None:
    history.schema("plain")
    with pytest.raises(ConfigurationError, match="key tables"):
        history.keys("rotate_dek")
    assert history.heads("keys") == set()


def test_a_tenant_without_keys_is_refused(sealed: History) -> None:
    with pytest.raises(ConfigurationError, match="'riversid'"):
        sealed.keys("rotate_dek", "tenant=riversid")
    assert sealed.heads("keys") == set()


def test_the_command_line_runs_both_histories(tmp_path: Path, sqlite_database: Database) -> None:
    history = History(tmp_path, sqlite_database.url)
    assert_done(history, "upgrade head")
    assert_done(history, "check")
    history.add(**patients()[0])
    assert_done(history, "-n keys -x tenant=hillside -x kek=local:theirs upgrade own_key")
    assert (history.heads("alembic"), history.heads("keys")) == ({"indexed"}, {"own_key"})
    assert history.wrapped_by(HILLSIDE) == {history.newest("local:theirs")}
    history.close()


def assert_done(history: History, line: str) -> None:
    process = history.shell(line)
    output = process.communicate(timeout=120)
    assert process.returncode == 0, output


def test_sealing_that_was_killed_goes_on(history: History) -> None:
    history.schema("plain")
    rows = patients(200)
    history.add_plain(rows)
    history.kill_when("upgrade head", lambda: history.count("ssn__cmk IS NOT NULL") > 20)
    assert 20 < history.count("ssn__cmk IS NOT NULL") < 200
    history.schema("head")
    assert_read(history, RIVERSIDE, HILLSIDE, rows=rows)
    for clinic in (RIVERSIDE, HILLSIDE):
        assert_sealed_under_active(history, clinic)
    command.check(history.config())


def test_a_reencryption_that_was_killed_goes_on(history: History) -> None:
    history.schema("plain")
    rows = patients(200)
    history.add_plain(rows)
    history.schema("head")
    old = history.deks(RIVERSIDE)["randomized"]

    def some_are_done() -> bool:
        return history.sealed_under(RIVERSIDE)["name"] - {old} != set()

    history.kill_when("-n keys upgrade reencrypted", some_are_done)
    assert len(history.sealed_under(RIVERSIDE)["name"]) == 2 and history.heads("keys") == {"rotate_dek"}
    assert_done(history, "-n keys upgrade reencrypted")
    assert_sealed_under_active(history, RIVERSIDE)
    assert_read(history, RIVERSIDE, HILLSIDE, rows=rows)
