"""openCryptoki's software token. There is one on a machine, and one daemon: all test processes share them."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy_cmk.providers.pkcs11.module import module_at
from tests.support.hsm import TokenSoftwareMissing, library
from tests.support.hsm.owner import run_as_owner
from tests.support.processes import await_true

LABEL = "cmk-tests"
# At most eight characters.
PIN, OFFICER = "pin-4711", "so-47110"
NEW, FIRST_OFFICER = "IBM OS PKCS#11", "87654321"


class OpenCryptoki:
    """The software token of this machine, if nobody has given it another label.

    It is initialized when the first test process asks for it. The daemon is started if it does not run, and
    is stopped by the last test process that uses it.
    """

    profile = "opencryptoki"
    pin = PIN

    def __init__(self) -> None:
        self.module = library("libopencryptoki.so")
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        self._daemon, self._tool = (shutil.which(name, path=path) for name in ("pkcsslotd", "pkcsconf"))
        if not (self.module and self._daemon and self._tool):
            raise TokenSoftwareMissing("openCryptoki is not installed: Debian's package opencryptoki")
        # Files of this account alone: another's cannot be opened.
        self._files = f"{tempfile.gettempdir()}/cmk-tests-opencryptoki-{os.getuid()}"
        self._started_by_tests = Path(f"{self._files}.daemon")
        self._using = os.open(f"{self._files}.users", os.O_RDWR | os.O_CREAT, 0o600)
        with self._alone():
            fcntl.flock(self._using, fcntl.LOCK_SH)
            self._start()
            self._make()
        self.names = [f"kek-{uuid4().hex}", f"other-{uuid4().hex}"]

    def uri(self, label: str, name: str) -> str:
        return f"pkcs11:token={LABEL};object={name}"

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """What the token's owner does from a process of their own."""
        return run_as_owner(self.module, LABEL, what, name, *more, pin=PIN)

    def take_away(self, name: str) -> None:
        """Forbid a KEK's use."""
        self.owner("", "forbid", name)

    def give_back(self, name: str) -> None:
        """Allow it again."""
        self.owner("", "allow", name)

    def close(self) -> None:
        """Remove the keys; stop the daemon if the tests started it and no other test process uses it."""
        for name in self.names:
            self.owner("", "delete", name)
        # The daemon does not end while a process is attached.
        with module_at(self.module).exclusive() as library:
            library.finalize()
        with self._alone():
            fcntl.flock(self._using, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._started_by_tests.exists():
                os.kill(int(self._started_by_tests.read_text()), signal.SIGTERM)
                self._started_by_tests.unlink()
                await_true(lambda: _daemon_pid() is None)
        os.close(self._using)

    def _start(self) -> None:
        if self._label() is not None:
            return
        if os.geteuid() != 0:
            raise TokenSoftwareMissing(
                "openCryptoki's daemon pkcsslotd does not run, and root alone may start it"
            )
        subprocess.run([str(self._daemon)], check=True, capture_output=True, timeout=60)
        await_true(lambda: self._label() is not None and _daemon_pid() is not None)
        self._started_by_tests.write_text(f"{_daemon_pid()}")

    def _make(self) -> None:
        label = self._label()
        if label == LABEL:
            return
        if label != NEW:
            raise TokenSoftwareMissing(f"this machine's software token of openCryptoki is in use: {label!r}")
        self._configure("-I", "-S", FIRST_OFFICER, typed=LABEL)
        self._configure("-P", "-S", FIRST_OFFICER, "-n", OFFICER)
        self._configure("-u", "-S", OFFICER, "-n", PIN[::-1])
        self._configure("-p", "-U", PIN[::-1], "-n", PIN)

    def _label(self) -> str | None:
        """The token's label; None while the daemon does not run."""
        shown = subprocess.run([str(self._tool), "-t"], capture_output=True, text=True, timeout=60)
        lines = [line.partition(":")[2].strip() for line in shown.stdout.splitlines() if "Label:" in line]
        self._slot = next(
            (line.split("#")[1].split()[0] for line in shown.stdout.splitlines() if "Token #" in line), ""
        )
        return lines[0] if lines else None

    def _configure(self, *arguments: str, typed: str = "") -> None:
        command = [str(self._tool), "-c", self._slot, *arguments]
        subprocess.run(command, input=typed + "\n", check=True, capture_output=True, text=True, timeout=60)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with Path(f"{self._files}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _daemon_pid() -> int | None:
    """The number of the daemon's process if it runs; its file may still name an earlier one."""
    try:
        pid = int(Path("/run/pkcsslotd.pid").read_text())
        name, state = Path(f"/proc/{pid}/stat").read_text().split()[1:3]
    except (OSError, ValueError):
        return None
    return pid if name == "(pkcsslotd)" and state != "Z" else None
