"""A pre-forked server: keys opened before the fork serve four workers."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from examples.clinic.models import Patient
from examples.clinic.seed import PASSWORD
from examples.clinic.storage import Storage
from tests.examples.clinic.browsing import TOKEN

APP = """
import os
from examples.clinic import create_app
from examples.clinic import seed
seed.PATIENTS = {"hillside": 3}
app = create_app()
app.after_request(lambda answer: (answer.headers.set("X-Worker", str(os.getpid())), answer)[1])
app.extensions["clinic"].keyring.warm(["hillside"])
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served.py").write_text(APP)
    log = tmp_path / "gunicorn.log"
    options = ["--preload", "--workers", "4", "--bind", "127.0.0.1:0", "--chdir", str(tmp_path)]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "served:app"],
        env={"CLINIC_DATA": str(tmp_path / "data"), "PYTHONPATH": str(Path.cwd())},
        stderr=log.open("w"),
    )
    try:
        yield _listening(server, log)
    finally:
        server.terminate()
        server.wait(120)


def _listening(server: "subprocess.Popen[bytes]", log: Path) -> str:
    for _ in range(2400):
        found = re.search(r"Listening at: (http://[\d.:]+)", log.read_text())
        if found:
            return found[1]
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_four_workers_write_and_read_with_keys_opened_before_the_fork(address: str, tmp_path: Path) -> None:
    def add(number: int) -> str:
        browser = build_opener(HTTPCookieProcessor(CookieJar()))

        def send(path: str, form: dict[str, str]) -> str:
            page = browser.open(f"{address}{path}", timeout=30).read().decode()
            token = TOKEN.search(page)
            assert token
            body = urlencode({**form, "csrf_token": token[1]}).encode()
            answer = browser.open(f"{address}{path}", body, timeout=30)
            worker.append(str(answer.headers["X-Worker"]))
            return str(answer.read().decode())

        worker: list[str] = []
        send("/sign-in", {"email": "reception@hillside.example", "password": PASSWORD})
        form = {"name": f"Patient {number}", "number": f"{number:03}", "born": "2000-01-01", "notes": ""}
        assert f"Patient {number}" in send("/patients/new", form)
        return worker[-1]

    with ThreadPoolExecutor(4) as pool:
        workers = set(pool.map(add, range(40)))
    assert len(workers) > 1
    storage = Storage(tmp_path / "data")
    with Session(storage.engine) as session:
        names = {patient.name for patient in session.scalars(select(Patient))}
    storage.close()
    assert {f"Patient {number}" for number in range(40)} <= names


def test_the_address_is_on_loopback_only(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    with pytest.raises(URLError):
        build_opener().open(address.replace("127.0.0.1", "127.0.0.2"), timeout=5)
