"""The application in processes of its own: gunicorn, which forks a worker that is ended and restarted."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.adversary.application import SETTING
from tests.adversary.setting import Setting

PATIENCE = 180
APP = "tests.adversary.application:create_app()"


@dataclass(frozen=True)
class Reply:
    """What the application answered.

    Attributes:
        error: the class of the error that a page ended with; empty if it did not.
        content: what else it said.
    """

    error: str
    content: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.content.get("message", ""))

    def __getitem__(self, name: str) -> Any:
        assert not self.error, f"{self.error}: {self.message}"
        return self.content[name]


class Application:
    """A running gunicorn over one setting; it ends with `stop`."""

    def __init__(self, setting: Setting) -> None:
        self._log = Path(setting.folder, "gunicorn.log")
        options = ["--preload", "--workers", "1", "--threads", "8", "--bind", "127.0.0.1:0"]
        options += ["--timeout", "300", "--graceful-timeout", "1", "--keep-alive", "0"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, APP],
            env={**os.environ, SETTING: str(setting.write())},
            stdout=(log := self._log.open("w")),
            stderr=log,
        )
        try:
            self._port = self._listening()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    @property
    def worker(self) -> int:
        """The id of the process that serves."""
        return int(self.get("operator", "worker")["pid"])

    def restart(self) -> None:
        """Go on with a new worker, which has opened nothing and seen nothing."""
        before = self.worker
        os.kill(before, signal.SIGKILL)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.worker != before:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise AssertionError(f"no new worker: {self._log.read_text()[-2000:]}")

    def forget(self) -> None:
        """Drop every opened key of the process."""
        self.post("operator", "forget")

    def advance(self, seconds: float) -> None:
        """Let time pass in the process."""
        self.post("operator", "advance", int(seconds))

    def get(self, *path: object, **query: str) -> Reply:
        return self._send("GET", path, query, None)

    def post(self, *path: object, **content: Any) -> Reply:
        return self._send("POST", path, {}, content)

    def _send(self, method: str, path: tuple[object, ...], query: dict[str, str], content: Any) -> Reply:
        target = "/" + "/".join(quote(str(part), safe="") for part in path)
        if query:
            target += "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, target, json.dumps(content), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return Reply(answer.pop("error", ""), answer)

    def _listening(self) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(r"Listening at: http://[\d.]+:(\d+)", self._log.read_text()):
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"gunicorn did not start: {self._log.read_text()}")
