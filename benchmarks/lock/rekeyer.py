"""The re-key worker of a lock drill: ``python -m benchmarks.lock.rekeyer SETTING RATE`` prints its report."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import create_engine

from benchmarks.drill.app import Note
from benchmarks.drill.setting import Setting
from sqlalchemy_cmk.rekey import Job, Rekey

CHUNK = 20


def main(path: str, rate: str) -> None:
    setting = Setting.read(Path(path))
    engine = create_engine(setting.database_url)
    with setting.keyring(engine, "the re-key worker") as keyring:
        keyring.protect(Note)
        report = Rekey(keyring, chunk=CHUNK, rate=float(rate)).run(Job.of(Note.__table__))
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main(*sys.argv[1:])
