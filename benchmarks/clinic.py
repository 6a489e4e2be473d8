"""What a list of 100 patients costs over HTTP, sealed and in plain text: ``python -m benchmarks.clinic``.

Two processes serve the same example application by the same server. One has its columns sealed; in its twin
``EncryptedType(String(80), ...)`` is ``String(80)`` when the models are imported. They take turns, and the
processor's time of the whole process counts, so that what else the machine does is of little weight.
"""

from __future__ import annotations

import http.client
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

ROWS = 100
ROUNDS, REQUESTS = 15, 20
PLAIN = "plain"


class Process:
    """The application in a process of its own."""

    def __init__(self, kind: str, folder: str) -> None:
        command = [sys.executable, "-m", "benchmarks.clinic", kind, folder]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def milliseconds(self) -> float:
        """Ask for the list some times; return what a request costs, in milliseconds of the processor."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def measure(rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Return what a request costs sealed and plain, in milliseconds, and the median of the rounds' ratios."""
    with ExitStack() as stack:
        sealed, plain = (
            Process(kind, stack.enter_context(tempfile.TemporaryDirectory())) for kind in ("sealed", PLAIN)
        )
        stack.callback(sealed.close)
        stack.callback(plain.close)
        pairs = [(sealed.milliseconds(), plain.milliseconds()) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(one / other for one, other in pairs)
    return min(one for one, _ in pairs), min(other for _, other in pairs), ratio


def serve(kind: str, folder: str) -> None:
    """Answer each line of the input with what a request costs."""
    import sqlalchemy_cmk

    if kind == PLAIN:
        sqlalchemy_cmk.EncryptedType = lambda type_, **_: type_  # type: ignore[misc, assignment]
    # Only now: the models take the type when they are imported.
    from sqlalchemy import select
    from sqlalchemy.orm import Session
    from werkzeug.serving import make_server

    from examples.clinic import seed
    from examples.clinic.app import application
    from examples.clinic.models import SignIn, Staff
    from examples.clinic.storage import Storage

    logging.disable()
    seed.PATIENTS = {"riverside": ROWS}
    storage = Storage(Path(folder))
    app = application(storage)
    with Session(storage.engine) as db:
        staff_id = db.scalar(select(Staff.id).where(Staff.clinic == "riverside"))
        hashed = sha256(b"secret").digest()
        db.add(SignIn(secret_hash=hashed, staff_id=staff_id, expires_at=time.time() + 3600))
        db.commit()
    client = app.test_client()
    with client.session_transaction() as session:
        session["secret"] = "secret"
    cookie = client.get_cookie("clinic")
    assert cookie is not None
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in sys.stdin:
        began = time.process_time()
        for _ in range(REQUESTS):
            request(server.server_port, cookie.value)
        print((time.process_time() - began) / REQUESTS * 1000, flush=True)
    server.shutdown()
    storage.close()


def request(port: int, cookie: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/patients?size={ROWS}", headers={"Cookie": f"clinic={cookie}"})
    page = connection.getresponse().read()
    assert page.count(b'data-label="Born"') == ROWS
    connection.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(*sys.argv[1:])
    else:
        print("sealed {:.2f} ms, plain {:.2f} ms, {:.2f} times as much".format(*measure()))
