"""Events leave through `logging` and OpenTelemetry as they happen, one line each."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from sqlalchemy.exc import IntegrityError

from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.emission import NAME
from sqlalchemy_cmk.keys.audit.events import EventKind
from tests.keys.conftest import before_statement
from tests.support.world import World

FORGING = "acme'\nshred tenant='globex\x1b[2J\u202e\\n"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, NAME):
        yield caplog


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryLogRecordExporter]:
    """What a LoggerProvider of the application's exports."""
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    # OpenTelemetry takes one provider in a process; another test may be first.
    monkeypatch.setattr(_logs, "get_logger", provider.get_logger)
    yield exporter
    provider.shutdown()


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.name == NAME]


def test_a_change_of_keys_is_told_with_its_row(lite: World, logged: pytest.LogCaptureFixture) -> None:
    lite.keyring.warm(["acme"], new=True)
    lite.keyring.assign("acme", "local:own")
    _, record = told(logged)
    row = lite.keyring.audit.entries()[-1]
    assert record.levelno == logging.INFO
    attributes = {name: value for name, value in vars(record).items() if name.startswith("cmk_")}
    names = (
        "event",
        "at",
        "tenant",
        "dek_id",
        "kek_uri",
        "kek_version",
        "actor",
        "origin",
        "detail",
        "seq",
        "hash",
    )
    assert attributes == {f"cmk_{name}": getattr(row, name) for name in names}
    assert record.getMessage().startswith("assign tenant='acme'") and "local:own" in record.getMessage()


def test_an_opened_dek_is_told_at_once(lite: World, logged: pytest.LogCaptureFixture) -> None:
    lite.keyring.warm(["acme"], new=True)
    lite.keyring.forget()
    logged.clear()
    with lite.engine.connect() as writer:
        writer.exec_driver_sql("BEGIN IMMEDIATE")  # the row has to wait
        lite.keyring.warm(["acme"], new=True)
        assert [one.__dict__["cmk_event"] for one in told(logged)] == ["unwrap"]
    assert [one.event for one in lite.keyring.audit.entries()] == ["wrap", "unwrap"]
    assert len(told(logged)) == 1, "its row is no second event"


def test_a_change_is_told_after_its_transaction_and_not_before(
    lite: World, logged: pytest.LogCaptureFixture
) -> None:
    lite.keyring.warm(["acme"], new=True)
    logged.clear()
    before: list[int] = []
    with before_statement("UPDATE cmk_audit_head", lambda: before.append(len(told(logged)))):
        lite.keyring.assign("acme", "local:own")
    assert set(before) == {0} and len(told(logged)) == 1


def test_a_change_that_is_rolled_back_is_not_told(lite: World, logged: pytest.LogCaptureFixture) -> None:
    lite.keyring.warm(["acme"], new=True)
    logged.clear()
    lite.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON cmk_audit_head WHEN new.hash <> old.hash "
        "BEGIN SELECT RAISE(FAIL, 'refused'); END"
    )
    with pytest.raises(IntegrityError):
        lite.keyring.audit.now(AuditEvent(EventKind.ASSIGN, "acme"))
    assert told(logged) == []
    lite.execute("DROP TRIGGER refuse")
    lite.keyring.assign("acme", "local:own")
    assert [one.__dict__["cmk_event"] for one in told(logged)] == ["assign"]


def test_a_broken_trail_is_a_warning(lite: World, logged: pytest.LogCaptureFixture) -> None:
    lite.keyring.warm(["acme"], new=True)
    lite.execute("UPDATE cmk_audit_head SET mac = ''")
    lite.keyring.warm(["globex"], new=True)
    _, broken, wrap = told(logged)
    assert broken.levelno == logging.WARNING and "authentic" in broken.getMessage()
    assert wrap.levelno == logging.INFO


def test_a_name_makes_no_second_line_and_no_second_field(
    lite: World, logged: pytest.LogCaptureFixture, exported: InMemoryLogRecordExporter
) -> None:
    lite.keyring.audit.soon(AuditEvent(EventKind.REVOKED, FORGING, detail=FORGING, kek_uri=FORGING))
    (record,) = told(logged)
    (export,) = exported.get_finished_logs()
    lines = [logging.Formatter("%(message)s %(cmk_tenant)s %(cmk_detail)s").format(record)]
    lines += [str(export.log_record.body), *map(str, (export.log_record.attributes or {}).values())]
    assert all(one.isprintable() for one in lines)
    assert record.__dict__["cmk_tenant"] == "acme'\\nshred tenant='globex\\x1b[2J\\u202e\\\\n"
    assert lite.keyring.audit.entries()[0].tenant == FORGING


def test_opentelemetry_has_each_event_once(lite: World, exported: InMemoryLogRecordExporter) -> None:
    lite.keyring.warm(["acme"], new=True)
    (export,) = exported.get_finished_logs()
    row = lite.keyring.audit.entries()[-1]
    record, attributes = export.log_record, dict(export.log_record.attributes or {})
    assert export.instrumentation_scope is not None and export.instrumentation_scope.name == NAME
    assert record.event_name == "cmk.audit.wrap" and record.severity_text == "INFO"
    assert attributes["cmk.audit.tenant"] == "acme" and attributes["cmk.audit.hash"] == row.hash
    assert "tenant='acme'" in str(record.body)


@pytest.mark.parametrize(("level", "bridged"), [(logging.INFO, True), (logging.ERROR, False)])
def test_a_handler_of_opentelemetry_s_sends_no_second_one(
    lite: World, exported: InMemoryLogRecordExporter, level: int, bridged: bool
) -> None:
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exported))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it moves to another package of theirs
        handler = LoggingHandler(level, provider)
    logger = logging.getLogger("sqlalchemy_cmk")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        lite.keyring.warm(["acme"], new=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        provider.shutdown()
    (export,) = exported.get_finished_logs()
    assert ("cmk_tenant" if bridged else "cmk.audit.tenant") in dict(export.log_record.attributes or {})


class Failing(logging.Handler):
    """An application's handler that does not catch what goes wrong in it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the log server is away")


def test_a_handler_that_fails_changes_nothing(lite: World, logged: pytest.LogCaptureFixture) -> None:
    handler = Failing()
    logging.getLogger(NAME).addHandler(handler)
    try:
        lite.keyring.warm(["acme"], new=True)
        lite.keyring.assign("acme", "local:own")
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    assert [one.event for one in lite.keyring.audit.entries()] == ["wrap", "assign"]


def test_an_api_that_takes_no_event_name_leaves_logging(tmp_path: Path) -> None:
    program = f"""
import logging, sys
from opentelemetry import _logs
class Older:
    def emit(self, record): raise AssertionError("not called")
_logs.Logger = Older
from sqlalchemy import create_engine
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
engine = create_engine("sqlite:///{tmp_path}/a.db")
keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider("{tmp_path}/keys.json")])
keyring.protect(Base)
Base.metadata.create_all(engine)
keyring.warm(["acme"], new=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True
    )
    assert "INFO:sqlalchemy_cmk.audit:wrap tenant='acme'" in done.stdout
