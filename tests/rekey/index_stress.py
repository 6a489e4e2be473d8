"""Processes of the kill test of indexes: one that builds and rotates an index, and writers who know it."""

import random
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert, update
from sqlalchemy.exc import OperationalError

from sqlalchemy_cmk import EncryptedType, Keyring, KeyUnavailable
from sqlalchemy_cmk.columns.token_columns import token_indexes
from sqlalchemy_cmk.keys.indexes import catalogue, records
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.rekey import Rekey
from sqlalchemy_cmk.rekey.indexes import (
    IndexSpec,
    IndexWork,
    build_index,
    expand_index,
    finish_rotation,
    rebuild_index,
)
from sqlalchemy_cmk.search import Exact

VALUES = 50


class Clinic:
    """A process of the application: the version whose model declares the index, or the one before."""

    def __init__(self, url: str, folder: Path, index: Any = None) -> None:
        catalogue.SEEN_WITHIN, records.SETTLED_AFTER = 0.2, 1.0
        self.engine: Engine = create_engine(url)
        self.metadata = MetaData()
        columns = Column("id", Integer, primary_key=True), Column("clinic", String(10), nullable=False)
        email = EncryptedType(String(20), index=[Exact()] if index is None else index)
        self.patients = Table(
            "patients", self.metadata, *columns, Column("email", email), info={"cmk_tenant": "clinic"}
        )
        self.keyring = Keyring(
            self.engine, platform_key="local:pmk", providers=[LocalKeyProvider(folder / "keys.json")]
        )
        self.keyring.protect(self.metadata)

    def step(self, act: Any, *arguments: Any) -> None:
        """Take a step of the index's life."""
        (one,) = token_indexes(self.patients)["email"]
        rekey = Rekey(self.keyring, chunk=100, rate=None)
        with self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            act(IndexWork(self.keyring, alone, rekey.run), IndexSpec.of(one), *arguments)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


def build(url: str, folder: Path, begun: Any) -> None:
    """Build the index, and make its tokens again under other keys."""
    clinic = Clinic(url, folder)
    begun.set()
    while True:
        try:
            clinic.step(build_index)
            clinic.step(rebuild_index, Purpose.SEARCH_2)
            clinic.step(finish_rotation)
            break
        except KeyUnavailable:  # a writer was slower than the test lets processes be
            time.sleep(0.1)
    clinic.close()


def expand(clinic: Clinic) -> None:
    clinic.step(expand_index)


def write_on(url: str, folder: Path, number: int, rows: int, stop: Any, said: Any) -> None:
    """Write until it is over, and say how long each write took, and what was not refused but failed."""
    clinic, chance = Clinic(url, folder), random.Random(number)
    patients, seconds, failures, at = clinic.patients, [], [], rows + number * 1_000_000
    while not stop.is_set():
        email, began = f"e{chance.randrange(VALUES)}", time.perf_counter()
        try:
            with clinic.engine.begin() as connection:
                if chance.random() < 0.5:
                    at += 1
                    connection.execute(insert(patients), {"id": at, "clinic": f"c{at % 2}", "email": email})
                else:
                    id_ = chance.randrange(1, rows + 1)
                    same = patients.c.id == id_, patients.c.clinic == f"c{id_ % 2}"
                    connection.execute(update(patients).where(*same).values(email=email))
        except OperationalError as error:
            # MariaDB lets one of two go that wait for each other: an application tries again.
            if "1213" not in str(error) and "1205" not in str(error):
                failures.append(str(error))
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        seconds.append(time.perf_counter() - began)
        time.sleep(0.005)
    clinic.close()
    said.put((seconds, failures))
