"""What a drill and a soak are played on: tenants with their vaults and first notes, and an operator."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from benchmarks.drill.outcome import Stored
from benchmarks.drill.setting import Setting, Times
from benchmarks.drill.vaults import Vaults

PATIENCE = 300


class Stage:
    """Tenants with a vault, a KEK and a first note each.

    Args:
        url: an empty database.
        folder: an empty folder.
        tenants: their names.
        times: the keyring's durations.
        note: the model of notes, with a base of its own.
        text_of: returns the text of a tenant's note of a number.
        stack: closes everything.

    Attributes:
        vaults: the tenants' vaults.
        setting: what the servers are started with.
        engine: the operator's.
        keyring: the operator's.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        tenants: Sequence[str],
        times: Times,
        note: Any,
        text_of: Callable[[str, int], str],
        stack: ExitStack,
    ) -> None:
        self.vaults = stack.enter_context(Vaults(tenants))
        self.vaults.make_keys()
        made = self.vaults
        self.setting = Setting(url, str(folder), made.login, made.ca_file, made.urls, times)
        self.engine = create_engine(url, pool_size=8)
        stack.callback(self.engine.dispose)
        self.keyring = self.setting.keyring(self.engine, "the operator")
        stack.callback(self.keyring.close)
        self._note = note
        self.keyring.protect(note)
        note.metadata.create_all(self.engine)

        def begin(tenant: str) -> None:
            self.keyring.assign(tenant, self.setting.kek_uri(tenant))
            with Session(self.engine) as session:
                session.add(note(tenant=tenant, number=1, text=text_of(tenant, 1)))
                session.commit()

        at_once(begin, tenants)

    def stored(self) -> list[Stored]:
        """Return every note, opened by the operator with keys that are asked for anew."""
        self.keyring.forget()
        note = self._note
        with Session(self.engine) as session:
            return [Stored(one.tenant, one.number, one.text) for one in session.scalars(select(note))]


@contextmanager
def clients(module: str, *arguments: object) -> Iterator[None]:
    """Run a module's clients in a process of their own, until the end of the block."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        process.wait(PATIENCE)
    assert process.returncode == 0, "the clients failed"


def at_once(work: Callable[[Any], object], many: Iterable[Any]) -> None:
    """Do some work for each of many, four at once."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, many))
