"""A token of SoftHSM in another process, reached as p11-kit's remoting does: by its server and its client."""

import os
import shutil
import signal
from pathlib import Path
from uuid import uuid4

from tests.support.hsm import PIN, TokenSoftwareMissing, library
from tests.support.hsm.softhsm import SoftHsm
from tests.support.processes import ServerProcess, await_true


class P11Kit:
    """The token of SoftHSM behind p11-kit's server; the client reads where it is when it is initialized."""

    profile = "softhsm"
    pin = PIN

    def __init__(self, softhsm: SoftHsm, folder: Path, label: str) -> None:
        self.module = library("p11-kit-client.so")
        if not self.module or not shutil.which("p11-kit"):
            raise TokenSoftwareMissing("p11-kit is not installed: Debian's p11-kit and p11-kit-modules")
        self._softhsm, self._label = softhsm, label
        socket = folder / "server" / "socket"
        command = ["p11-kit", "server", "-f", "-n", str(socket), "--provider", softhsm.module]
        self._process = ServerProcess(
            folder / "server", ["root"], signal.SIGTERM, [*command, f"pkcs11:token={label}"]
        )
        await_true(socket.exists)
        os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"
        self.names = [f"kek-{uuid4().hex}", f"other-{uuid4().hex}"]

    def uri(self, label: str, name: str) -> str:
        return self._softhsm.uri(self._label, name)

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """What the token's owner does from a process of their own, beside p11-kit."""
        return self._softhsm.owner(self._label, what, name, *more)

    def take_away(self, name: str) -> None:
        """Forbid a KEK's use."""
        self.owner("", "forbid", name)

    def give_back(self, name: str) -> None:
        """Allow it again."""
        self.owner("", "allow", name)

    def close(self) -> None:
        """Stop the server."""
        self._process.stop()
