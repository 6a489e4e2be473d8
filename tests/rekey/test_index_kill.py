"""``kill -9`` while an index is built and rotated beside writers: in the end it misses no row."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.conftest import empty_database
from tests.rekey import index_stress
from tests.rekey.index_stress import VALUES, Clinic
from tests.rekey.test_kill import SECONDS, context, process

KILLS = int(os.environ.get("CMK_STRESS", "3"))
ROWS = 1500
WRITERS = 2


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_an_index_whose_builds_were_killed_finds_every_row(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.param = kind
    for database in empty_database(request):
        old = Clinic(database.url, tmp_path, index=())
        old.metadata.create_all(old.engine)
        rows = [{"id": n, "clinic": f"c{n % 2}", "email": f"e{n % VALUES}"} for n in range(1, ROWS + 1)]
        with old.engine.begin() as connection:
            connection.execute(insert(old.patients), rows)
        old.close()
        clinic = Clinic(database.url, tmp_path)
        index_stress.expand(clinic)
        written = killed_beside_writers(database.url, tmp_path)
        assert [failures for _, failures in written] == [[]] * WRITERS, "no write of the application failed"
        assert misses(clinic) == []
        (stored,) = clinic.keyring.indexes.stored()
        assert stored.hidden == "email_exact__2"
        clinic.close()


def killed_beside_writers(url: str, folder: Path) -> list[Any]:
    stop, said = context.Event(), context.Queue()
    writers = [process(index_stress.write_on, url, folder, n + 1, ROWS, stop, said) for n in range(WRITERS)]
    for done in range(KILLS + 1):
        begun = context.Event()
        run = process(index_stress.build, url, folder, begun)
        assert begun.wait(SECONDS)
        if done < KILLS:
            run.join(random.uniform(0, 4))
            run.kill()
            run.join(SECONDS)
        else:
            run.join(SECONDS)
            assert run.exitcode == 0
    stop.set()
    written = [said.get(timeout=SECONDS) for _ in writers]
    for one in writers:
        one.join(SECONDS)
    return written


def misses(clinic: Clinic) -> list[Any]:
    """Values of tenants that the index does not find as one finds them by opening every row."""
    patients = clinic.patients
    with clinic.engine.connect() as connection:
        every = connection.execute(select(patients.c.id, patients.c.clinic, patients.c.email)).all()
        found = []
        for whose in ("c0", "c1"):
            for email in {one.email for one in every}:
                asked = select(patients.c.id).where(patients.c.clinic == whose, patients.c.email == email)
                same = sorted(one.id for one in every if (one.clinic, one.email) == (whose, email))
                if sorted(connection.scalars(asked)) != same:
                    found.append((whose, email))
    return found
