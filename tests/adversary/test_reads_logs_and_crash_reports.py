"""One who reads the logs at their most talkative level, and crash reports with the locals of every frame."""

import re
import sys
import time
from pathlib import Path

import pytest

from tests.adversary.forgeries import flipped
from tests.adversary.secrets import Secrets, deks_of, secrets_of
from tests.adversary.setting import REVALIDATE_AFTER
from tests.adversary.town import KEK, Tenant, Town
from tests.faults.watching import found

VALUES = {"name": "Rosamund of the logs", "ssn": "457-55-5462", "history": "a broken wrist, twice"}


@pytest.fixture
def acme(town: Town) -> Tenant:
    return town.tenant("acme")


def a_bad_day(town: Town, acme: Tenant) -> None:
    """Whatever may go wrong, with values and keys at hand."""
    globex = town.tenant("globex")
    number, theirs = acme.add(**VALUES), globex.add(name="Gus")
    assert acme.says(number) == VALUES["name"]
    assert town.app.get(acme.name, "find", ssn=VALUES["ssn"])["ids"] == [number]
    town.app.get("as", globex.name, "ask", number)
    town.app.get("as", globex.name, "plant", number, acme.name)
    errors = {
        "twice": town.app.post(acme.name, id=number, **VALUES).error,
        "another": town.app.get(globex.name, number, "name").error,
        "too long": town.app.post(acme.name, id=1 << 70, **VALUES).error,
        "no text": town.app.post(acme.name, name=[VALUES["name"]], history=VALUES["history"]).error,
    }
    value = bytes(town.stored(number))
    town.store(number, flipped(value, 20))
    errors["tampered"] = acme.read(number).error
    town.store(number, value)
    town.app.forget()
    with town.away(acme.vault):
        errors["outage"] = acme.read(number).error
        errors["outage, writing"] = town.app.post(acme.name, **VALUES).error
    wait_for(lambda: not acme.read(number).error)
    acme.vault.rotate_key(KEK)
    town.app.forget()
    acme.vault.faults.fail(503, only=["wrapKey"])
    errors["rewrap"] = town.app.post("operator", "rewrap", acme.name).error
    acme.vault.faults.clear()
    newer = town.vault(f"newer-{acme.name}", acme.name)
    town.allow(acme, newer)
    newer.faults.fail(503, only=["wrapKey"])
    errors["assign, wrapping"] = town.app.post(
        "operator", "assign", acme.name, kek_uri=newer.key_uri(KEK)
    ).error
    newer.faults.clear()
    lies = {"kid": newer.versions(KEK)[0].kid, "value": "AAAA"}
    newer.faults.foreign_answer(200, lies, only=["unwrapKey"])
    errors["assign, proving"] = town.app.post(
        "operator", "assign", acme.name, kek_uri=newer.key_uri(KEK)
    ).error
    acme.vault.disable_key(KEK)
    town.app.advance(REVALIDATE_AFTER)
    wait_for(lambda: acme.read(number).error == "KeyRevoked")
    errors["revoked"] = town.app.post(acme.name, **VALUES).error
    acme.vault.enable_key(KEK)
    town.app.forget()
    wait_for(lambda: not acme.read(number).error)
    assert globex.says(theirs) == "Gus"
    assert all(errors.values()), errors


def wait_for(what: object) -> None:
    end = time.monotonic() + 60
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def secrets(town: Town, acme: Tenant) -> Secrets:
    return {**VALUES, **secrets_of(town, acme)}


def written(town: Town, *names: str) -> str:
    return "\n".join(Path(town.setting.folder, name).read_text(errors="replace") for name in names)


def test_finds_no_value_key_token_or_login_in_the_logs(town: Town, acme: Tenant) -> None:
    a_bad_day(town, acme)
    logs = written(town, "application.log", "gunicorn.log")
    for name in (
        "sqlalchemy.engine",
        "azure",
        "KeyRevoked",
        "KeyUnavailable",
        "TamperedError",
        "IntegrityError",
    ):
        assert name in logs, name
    assert found(secrets(town, acme), logs) == []


def test_finds_no_key_token_or_login_in_the_locals_of_libraries(town: Town, acme: Tenant) -> None:
    a_bad_day(town, acme)
    reports = written(town, "crashes-library.txt")
    assert re.search(r"sqlalchemy_cmk/\S+: self\n", reports) and "KeyRevoked" in reports
    assert found(secrets_of(town, acme), reports) == []


def test_finds_no_value_of_a_row_that_could_not_be_read(town: Town, acme: Tenant) -> None:
    """Neither its own nor those of the rows that were fetched with it."""
    values = {f"name {number}": f"Patient {number} of {acme.name}" for number in range(3)}
    *_, last = (acme.add(name=one) for one in values.values())
    town.store(last, flipped(bytes(town.stored(last)), 30))
    assert town.app.get(acme.name, "names").error == "TamperedError"
    assert found(dict(values), written(town, "crashes-library.txt", "application.log")) == []


def test_finds_values_that_were_being_written_in_the_locals_of_libraries(town: Town, acme: Tenant) -> None:
    """SQLAlchemy holds what it is given to write; a reporter that sends its locals sends that."""
    number = acme.add(name="Ann")
    said = f"for {acme.name} only"
    assert town.app.post(acme.name, id=number, name=said).error == "IntegrityError"
    assert said in written(town, "crashes-library.txt")
    assert said not in written(town, "application.log", "gunicorn.log")


def test_finds_what_the_applications_own_frames_hold(town: Town, acme: Tenant) -> None:
    """A reporter that sends your locals sends your values."""
    number = acme.add(name="Ann")
    assert town.app.get("as", acme.name, "crash", number).error == "ZeroDivisionError"
    assert "= Ann in a local" in written(town, "crashes-own.txt")
    assert "= Ann in a local" not in written(town, "crashes-library.txt")


def test_sees_which_tenants_and_vaults_there_are(town: Town, acme: Tenant) -> None:
    number = acme.add(name="Ann")
    acme.vault.disable_key(KEK)
    town.app.forget()
    assert acme.read(number).error == "KeyRevoked"
    logs = written(town, "application.log")
    assert acme.name in logs and acme.kek_uri in logs


def test_finds_open_keys_in_the_memory_of_the_process(town: Town, acme: Tenant) -> None:
    """Not a log: anyone who reads a core dump, or the process's memory, has what the process has."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    acme.add(name="Ann")
    deks = deks_of(town, acme)
    memory = memory_of(town.app.worker)
    assert any(dek in part for dek in deks for part in memory)


def memory_of(process: int) -> list[bytes]:
    """The writable memory of a process, without what files are mapped to."""
    parts = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *rest = line.split()
            if not rights.startswith("rw") or (len(rest) > 3 and rest[3].startswith("/")):
                continue
            begin, end = (int(one, 16) for one in span.split("-"))
            try:
                memory.seek(begin)
                parts.append(memory.read(end - begin))
            except (OSError, OverflowError):
                continue
    return parts
