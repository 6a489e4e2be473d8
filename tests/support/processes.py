"""Starting, awaiting and stopping a server process under a guardian."""

import atexit
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

READY_SECONDS = 180
STOP_SECONDS = 60
# Below the range from which systems take the ports of outgoing connections, so that none of those
# takes the port between the look and the server's start.
PORTS = range(20000, 32000)
GUARDIAN = Path(__file__).with_name("guardian.py")


class ServerProcess:
    """A running server and its folder; both are gone after `stop`, or when this process ends."""

    def __init__(
        self, folder: Path, users: Sequence[str], stop_signal: signal.Signals, command: Sequence[str]
    ) -> None:
        self.folder = folder
        self._owner = os.getpid()
        prefix = [*tied_to_guardian(stop_signal), *private_folder(folder, users)]
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", str(GUARDIAN), str(folder), stop_signal.name, *prefix, *command],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        """Whether the server has not ended by itself."""
        return self._guardian.poll() is None

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        log = self.folder / "server.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-30:]) if log.exists() else ""

    def stop(self) -> None:
        """Stop the server and remove its folder; a second call, or one from a forked child, does nothing."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.stop)
        if self._guardian.stdin and not self._guardian.stdin.closed:
            self._guardian.stdin.close()
        self._guardian.wait(STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


def await_ready(server: ServerProcess, what: str, connect: Callable[[], object]) -> None:
    """Return as soon as `connect` succeeds; stop the server and raise when it never does."""
    deadline = time.monotonic() + READY_SECONDS
    problem: Exception | None = None
    try:
        while server.running and time.monotonic() < deadline:
            try:
                connect()
                return
            except Exception as error:
                problem = error
                time.sleep(0.1)
        raise RuntimeError(f"{what} did not start: {problem}\n{server.log_tail()}") from problem
    except BaseException:
        server.stop()
        raise


def await_true(happened: Callable[[], bool]) -> None:
    """Return as soon as something has happened; raise when it never does."""
    deadline = time.monotonic() + READY_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError("what was waited for has not happened")
        time.sleep(0.05)


def tied_to_guardian(stop_signal: signal.Signals) -> list[str]:
    """A command prefix that has the system stop the server when its guardian is killed, where it can."""
    setpriv = shutil.which("setpriv")
    return [setpriv, f"--pdeathsig={stop_signal.name.removeprefix('SIG')}"] if setpriv else []


def private_folder(folder: Path, users: Sequence[str]) -> list[str]:
    """Create the folder for a server and return the part of the command prefix that changes the account.

    Database servers refuse to run as root, so root hands the folder to the first of `users` that exists.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise RuntimeError("setpriv (util-linux) is needed to start a database server from the root account")
    user = first_user(users)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def first_user(names: Sequence[str]) -> pwd.struct_passwd:
    """The first account of these names that the system knows."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in names:
        if name in known:
            return known[name]
    raise RuntimeError(f"none of the accounts {', '.join(names)} exists to run a database server")


def one_after_the_other(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """A command that runs `first` and, when that went well, becomes `second`."""
    return ["/bin/sh", "-c", f"{shlex.join(first)} && exec {shlex.join(second)}"]


def free_port() -> int:
    """A port of the loopback interface on which nothing listens."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("found no free port on 127.0.0.1")
