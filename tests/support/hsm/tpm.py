"""A TPM 2.0 in software, swtpm, as a token: through tpm2-pkcs11, and tpm2-abrmd on a bus of its own."""

import ctypes
import os
import shlex
import shutil
import signal
import sqlite3
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path
from uuid import uuid4

from sqlalchemy_cmk.providers.pkcs11.identifiers import parse_identifier
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.pins import PinSource
from sqlalchemy_cmk.providers.pkcs11.tokens import find_token, open_session
from tests.support.hsm import PIN, TokenSoftwareMissing, library
from tests.support.hsm.boundary import OK, functions
from tests.support.hsm.nss import copy_database
from tests.support.hsm.owner import ACTS
from tests.support.processes import ServerProcess, await_ready

PROGRAMS = ("swtpm", "tpm2-abrmd", "dbus-daemon")
LABEL = "tpm"
OFFICER = b"officer-4711"
EMPTY_SLOT = 1


class Tpm:
    """A TPM of this test process; tpm2-pkcs11 reads where it is when it is initialized.

    Args:
        folder: an empty folder, for its store of keys.
    """

    profile = "tpm2"
    pin = PIN

    def __init__(self, folder: Path) -> None:
        self.module = library("libtpm2_pkcs11.so")
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
        if missing or not self.module:
            raise TokenSoftwareMissing(
                "no TPM in software: Debian's swtpm, tpm2-abrmd, libtss2-tcti-tabrmd0, dbus, libtpm2-pkcs11-1"
            )
        (folder / "store").mkdir()
        self.store, self._kept = folder / "store" / "tpm2_pkcs11.sqlite3", folder / "kept.sqlite3"
        state = folder / "tpm"
        bus, socket = state / "bus", state / "socket"
        swtpm = [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            f"dir={state}",
            "--flags",
            "not-need-init,startup-clear",
        ]
        swtpm += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
        daemon = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={bus}"]
        manager = ["tpm2-abrmd", "--session", "--allow-root", f"--tcti=swtpm:path={socket}"]
        wait = (
            f"until [ -S {shlex.quote(str(bus))} ] && [ -S {shlex.quote(str(socket))} ]; do sleep 0.05; done"
        )
        script = f"{shlex.join(swtpm)} & {shlex.join(daemon)} & {wait}; {shlex.join(manager)}; kill 0"
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
        command = [
            "env",
            f"PATH={path}",
            f"DBUS_SESSION_BUS_ADDRESS=unix:path={bus}",
            "/bin/sh",
            "-c",
            script,
        ]
        self._process = ServerProcess(state, ["root"], signal.SIGTERM, command)
        os.environ["TPM2_PKCS11_STORE"] = str(folder / "store")
        os.environ["TPM2_PKCS11_TCTI"] = "tabrmd:bus_type=session"
        os.environ.update(TPM2_PKCS11_LOG_LEVEL="0", TSS2_LOG="all+NONE")
        await_ready(self._process, "The TPM", self._make)
        self.names = [f"kek-{uuid4().hex}", f"other-{uuid4().hex}"]

    def uri(self, label: str, name: str) -> str:
        return f"pkcs11:token={LABEL};object={name}"

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """What the token's owner does: in this process, since the module reads its store once a process."""
        module, printed = module_at(self.module), StringIO()
        with module.exclusive() as library, redirect_stdout(printed):
            token = find_token(library, parse_identifier(self.uri(label, name)))
            opened = open_session(module, token, PinSource(lambda _: PIN), rw=True)
            try:
                ACTS[what](opened.session, name, *more)
            finally:
                opened.close()
        return printed.getvalue().strip()

    def take_away(self, name: str) -> None:
        """Remove a KEK, as another process does: this one's module has read it, and does not look again."""
        copy_database(self.store, self._kept)
        with closing(sqlite3.connect(self.store)) as store, store:
            removed = store.execute("DELETE FROM tobjects WHERE attrs LIKE ?", (f"%{name.encode().hex()}%",))
            assert removed.rowcount

    def give_back(self, name: str) -> None:
        """Put back what the store held."""
        copy_database(self._kept, self.store)
        self.read_again()

    def read_again(self) -> None:
        """Have the module read its store at its next use."""
        module_at(self.module)._began = float("-inf")

    def close(self) -> None:
        """Stop it."""
        module = module_at(self.module)
        with module.exclusive() as library:
            library.finalize()
        self._process.stop()

    def _make(self) -> None:
        with module_at(self.module).exclusive() as library:
            tokens = {token.label: token for token in library.get_tokens()}
            if LABEL not in tokens:
                kind = ctypes.CFUNCTYPE(
                    ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p
                )
                answer = kind(functions(self.module).C_InitToken)(
                    EMPTY_SLOT, OFFICER, len(OFFICER), LABEL.encode().ljust(32)
                )
                assert answer == OK, hex(answer)
                tokens = {token.label: token for token in library.get_tokens()}
            officer = tokens[LABEL].open(rw=True, so_pin=OFFICER.decode())
            officer.init_pin(PIN)
            officer.close()
