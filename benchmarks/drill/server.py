"""A web server: a parent process and its workers."""

import os
import re
import socket
import sys
import time
from pathlib import Path

from benchmarks.drill.child import Child

START_SECONDS = 300
LISTENING = re.compile(r"(?:Listening at:|running on) http://[\d.]+:(\d+)")


class Server(Child):
    """A running server, which writes its port into its log.

    Args:
        name: the log's name.
        command: what runs it, on a port that the kernel chooses.
        variable: the environment's variable that names the setting's file.
        setting: that file.
    """

    def __init__(self, name: str, command: list[str], variable: str, setting: Path) -> None:
        self.name = name
        self._log = setting.with_name(f"{name}.log")
        super().__init__(command, env={**os.environ, variable: str(setting)}, stderr=self._log.open("w"))
        try:
            self.port = self._listening()
        except BaseException:
            self.stop()
            raise

    @property
    def parent(self) -> int:
        """The process id of the parent."""
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text()

    def _listening(self) -> int:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if (found := LISTENING.search(self.log())) and _accepts(int(found[1])):
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start: {self.log()}")


def _accepts(port: int) -> bool:
    # A server may name its port before a worker listens.
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def gunicorn(app: str, workers: int, *options: str) -> list[str]:
    """Return the command for gunicorn, which forks its workers from a parent that has opened every key."""
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(workers), *options]
    return [*command, "--bind", "127.0.0.1:0", "--timeout", "120", "--graceful-timeout", "1", app]
