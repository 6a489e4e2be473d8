"""Both sides of the story, running. See :class:`World`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from benchmarks.drill.server import Server, gunicorn
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.story.commands import Terminal
from tests.story.customer import Customer
from tests.story.setting import VARIABLE, Setting
from tests.story.vendor import CUSTOMER, Base, Patient, Visit, keyring

KEY = "clinic-kek"
SECRET = "whsec_c3RvcnlzdG9yeXN0b3J5c3RvcnlzdG9yeQ=="
NAMES = ("Lovelace, Ada", "Hopper, Grace", "Noether, Emmy")
NEIGHBOUR, LEAVER = "globex", "initech"
WORKERS = 2
# Requests that reach each of the workers, as good as certainly.
ROUND = 10


@dataclass
class World:
    """The vendor's web server and terminal, and the customer."""

    emulator: KeyVaultEmulator
    customer: Customer
    terminal: Terminal
    server: Server
    keyring: Keyring
    folder: Path

    @property
    def kek_uri(self) -> str:
        return self.customer.vault.key_uri(KEY)

    def patients(self, clinic: str = CUSTOMER) -> requests.Response:
        headers = {"X-Clinic": clinic, "Accept": "application/json"}
        return requests.get(f"http://127.0.0.1:{self.server.port}/patients", headers=headers, timeout=60)

    @property
    def public_key(self) -> Path:
        return self.folder / "public.pem"

    def is_shut(self) -> bool:
        """Whether no worker gives a patient of the customer's away."""
        return all(self.patients().status_code == 403 for _ in range(ROUND))

    def is_open(self) -> bool:
        return all(self.patients().ok for _ in range(ROUND))


@dataclass
class Visitors:
    """People of another clinic who go on asking, whatever happens to the customer."""

    world: World
    answers: list[int] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator["Visitors"]:
        threads = [threading.Thread(target=self._ask) for _ in range(2)]
        for one in threads:
            one.start()
        try:
            yield self
        finally:
            self.stopping.set()
            for one in threads:
                one.join()

    def _ask(self) -> None:
        while not self.stopping.is_set():
            self.answers.append(self.world.patients(NEIGHBOUR).status_code)


@contextmanager
def both_sides(database_url: str, folder: Path) -> Iterator[World]:
    """Start everything: a customer who has a vault and no key yet, and a vendor with three tenants' rows."""
    with KeyVaultEmulator() as emulator, Customer(emulator, CUSTOMER, SECRET) as customer:
        setting = Setting(
            database_url,
            str(folder),
            _login(emulator),
            str(emulator.ca_file),
            emulator.trusted_hosts,
            customer.webhook,
            SECRET,
        )
        terminal = Terminal(setting.write())
        terminal.run("certificate", "make-key", str(setting.signing_key))
        own = keyring(setting)
        _fill(own, database_url)
        command = gunicorn("tests.story.vendor:create_app()", WORKERS)
        with own, Server("vendor", command, VARIABLE, terminal.setting) as server:
            yield World(emulator, customer, terminal, server, own, _elsewhere(terminal, folder))


def _elsewhere(terminal: Terminal, folder: Path) -> Path:
    """Return a folder of another machine's, with the public key that the vendor has handed over."""
    place = folder / "elsewhere"
    place.mkdir()
    (place / "public.pem").write_text(terminal.run("certificate", "public-key"))
    return place


def _login(emulator: KeyVaultEmulator) -> dict[str, str]:
    app = emulator.app
    return {
        "authority": emulator.authority,
        "tenant_id": emulator.tenant_id,
        "client_id": app.client_id,
        "client_secret": app.secret,
    }


def _fill(own: Keyring, database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for clinic in (CUSTOMER, NEIGHBOUR, LEAVER):
            patients = [Patient(clinic=clinic, name=name, notes=f"{name} is well.") for name in NAMES]
            session.add_all(patients)
            session.flush()
            session.add_all(
                Visit(clinic=clinic, patient_id=one.id, reason="Yearly check") for one in patients
            )
        session.commit()
    engine.dispose()
