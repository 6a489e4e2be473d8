"""Gunicorn, which forks its workers from a parent that has opened every key."""

import os
import re
import sys
import time
from pathlib import Path

from benchmarks.drill.app import SETTING
from benchmarks.drill.child import Child

START_SECONDS = 120


class Server(Child):
    """A running gunicorn of so many workers."""

    def __init__(self, setting: Path, workers: int, threads: int) -> None:
        self._log = setting.with_name("gunicorn.log")
        options = ["--preload", "--workers", str(workers), "--threads", str(threads), "--bind", "127.0.0.1:0"]
        options += ["--keep-alive", "300", "--timeout", "120", "--graceful-timeout", "1"]
        super().__init__(
            [sys.executable, "-m", "gunicorn", *options, "benchmarks.drill.app:create_app()"],
            env={**os.environ, SETTING: str(setting)},
            stderr=self._log.open("w"),
        )
        try:
            self.port = self._listening()
        except BaseException:
            self.stop()
            raise

    def log(self) -> str:
        return self._log.read_text()

    def _listening(self) -> int:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(r"Listening at: http://[\d.]+:(\d+)", self.log()):
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"gunicorn did not start: {self.log()}")
