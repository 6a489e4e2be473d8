"""A token of SoftHSM for the clinic that keeps its KEK in an HSM: ``make demo HSM=softhsm``.

``python -m examples.clinic.token FOLDER on|off`` is what the token's owner does, in a process of their own.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.portal.vaults import Request, Vault
from sqlalchemy_cmk.providers import Pkcs11KeyProvider

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "hillside"
KEK_URI = f"pkcs11:token={LABEL};object=clinic-kek"


class Token(Vault):
    """SoftHSM's token in a folder; made at first use, with a PIN in a private file beside it.

    Args:
        folder: the data folder.
        before: the vault in which the key was until now; it goes on serving until the key has moved.
    """

    kind = "HSM token"

    def __init__(self, folder: Path, before: Vault) -> None:
        self._folder = folder / "softhsm"
        self._pin = self._folder / "pin"
        self._off = self._folder / "off"
        self.before = before
        self.title = before.title
        self.kek_uri = KEK_URI
        self.second_region = before.second_region
        self.former = (before.kek_uri,)
        config = self._folder / "softhsm2.conf"
        # SoftHSM reads where its tokens are when it is initialized.
        os.environ["SOFTHSM2_CONF"] = str(config.resolve())
        if not self._pin.exists():
            self._make(config)
        self._provider = Pkcs11KeyProvider(MODULE, pin=f"file:{self._pin}", profile="softhsm", make_keys=True)
        self.providers = (self._provider, *before.providers)

    @property
    def state(self) -> str:
        return "disabled" if self._off.exists() else "enabled"

    @property
    def actions(self) -> Sequence[str]:
        return ("enable",) if self._off.exists() else ("disable",)

    def versions(self) -> list[str]:
        return [] if self._off.exists() else [self._provider.newest_version(self.kek_uri)]

    def change(self, action: str) -> None:
        """Let the KEK unwrap or forbid it, as its owner would with the HSM's own tools."""
        if action not in self.actions:
            return
        switch = "on" if action == "enable" else "off"
        command = [sys.executable, "-m", __name__, str(self._folder.parent), switch]
        subprocess.run(command, check=True, timeout=60)

    def log(self) -> list[Request]:
        """Return nothing: this token keeps no log."""
        return []

    def _make(self, config: Path) -> None:
        program = shutil.which("softhsm2-util")
        if program is None:
            raise SystemExit("SoftHSM is not installed: apt-get install softhsm2")
        tokens = self._folder / "tokens"
        tokens.mkdir(parents=True, mode=0o700, exist_ok=True)
        config.write_text(f"directories.tokendir = {tokens.resolve()}\nlog.level = ERROR\n")
        pin = secrets.token_urlsafe(12)
        command = [program, "--init-token", "--free", "--label", LABEL, "--pin", pin, "--so-pin", pin]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        handle = os.open(self._pin, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(pin)


def main(folder: str, switch: str) -> None:
    """Set whether the KEK may unwrap."""
    import pkcs11
    from pkcs11 import Attribute

    home = Path(folder) / "softhsm"
    os.environ["SOFTHSM2_CONF"] = str((home / "softhsm2.conf").resolve())
    token = pkcs11.lib(MODULE).get_token(token_label=LABEL)
    session = token.open(rw=True, user_pin=(home / "pin").read_text())
    for key in list(session.get_objects({Attribute.LABEL: "clinic-kek"})):
        key[Attribute.UNWRAP] = switch == "on"
    if switch == "on":
        (home / "off").unlink(missing_ok=True)
    else:
        (home / "off").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
