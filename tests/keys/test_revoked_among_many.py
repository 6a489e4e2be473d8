"""A revocation shuts every process within the bound while the keys of a thousand others are proven again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert, select

from sqlalchemy_cmk import CmkError, EncryptedType, KeyRevoked, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.keys.processes import SECONDS, begin

OTHERS, WORKERS, BOUND = 1000, 3, 12.0
METADATA = MetaData()
NOTES = Table(
    "notes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("owner", String(20)),
    Column("text", EncryptedType(String(20))),
    info={"cmk_tenant": "owner"},
)


class Counting(LocalKeyProvider):
    """Counts what it has unwrapped."""

    unwrapped = 0

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.unwrapped += 1
        return super().unwrap(wrapped)


def keyring_in(folder: Path, provider: LocalKeyProvider) -> tuple[Engine, Keyring]:
    engine = create_engine(f"sqlite:///{folder / 'notes.db'}")
    options: dict[str, Any] = {"revalidate_after": BOUND, "outage_grace": BOUND, "refresh_ahead": True}
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider], **options)
    keyring.protect(METADATA)
    return engine, keyring


def serve(folder: Path, number: int) -> None:
    """Read every tenant's row in turn, and say which requests were served, until a file says to stop."""
    provider = Counting(folder / "keys.json")
    engine, keyring = keyring_in(folder, provider)
    query = select(NOTES.c.owner, NOTES.c.text)
    with open(folder / f"journal-{number}", "a", buffering=1) as journal, engine.connect() as connection:
        for row in connection.execute(query.where(NOTES.c.owner != "acme")):
            assert row.owner == row.text
        journal.write(f"ready {time.monotonic()}\n")
        tenant = 0
        while not (folder / "stop").exists():
            for owner in (f"tenant {tenant % OTHERS}", "acme"):
                began = time.monotonic()
                try:
                    found = connection.execute(query.where(NOTES.c.owner == owner)).one()
                    said = "served" if found.text == owner else "wrong"
                except CmkError as error:
                    said = "refused" if isinstance(error, KeyRevoked) else "failed"
                who = "acme" if owner == "acme" else "other"
                journal.write(f"{who} {said} {began} {provider.unwrapped}\n")
            tenant += 7  # each is used between two proofs
            time.sleep(0.002)
    keyring.close()


def until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.2)


def said(folder: Path, number: int) -> list[list[str]]:
    path = folder / f"journal-{number}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.timeout(3 * SECONDS)
def test_every_process_is_shut_within_the_bound_and_the_others_read_on(tmp_path: Path) -> None:
    provider = LocalKeyProvider(tmp_path / "keys.json")
    engine, keyring = keyring_in(tmp_path, provider)
    METADATA.create_all(engine)
    names = ["acme", *(f"tenant {number}" for number in range(OTHERS))]
    keyring.warm(names, new=True)
    for name in names:
        keyring.assign(name, f"local:{name}")
    with engine.begin() as connection:
        connection.execute(insert(NOTES), [{"owner": name, "text": name} for name in names])
    keyring.close()
    workers = range(WORKERS)
    running = [begin(serve, tmp_path, number) for number in workers]

    def proofs_since(number: int, moment: float) -> int:
        counts = [
            int(one[3]) for one in said(tmp_path, number) if one[0] != "ready" and float(one[2]) > moment
        ]
        return counts[-1] - counts[0] if counts else 0

    def has_refused(number: int) -> bool:
        return any(one[:2] == ["acme", "refused"] for one in said(tmp_path, number))

    try:
        until(lambda: all(proofs_since(number, 0) > OTHERS // 10 for number in workers))
        provider.disable("local:acme")
        revoked = time.monotonic()
        until(lambda: all(has_refused(one) and proofs_since(one, revoked) > OTHERS // 2 for one in workers))
    finally:
        (tmp_path / "stop").touch()
        for one in running:
            one.join(SECONDS)
            one.kill()
    assert [one.exitcode for one in running] == [0] * WORKERS
    for number in workers:
        lines = [one for one in said(tmp_path, number) if one[0] != "ready"]
        assert max(float(one[2]) for one in lines if one[:2] == ["acme", "served"]) < revoked + BOUND
        assert {one[1] for one in lines if one[0] == "other"} == {"served"}
