"""SoftHSM 2 with private tokens."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.hsm import PIN, TokenSoftwareMissing
from tests.support.hsm.owner import run_as_owner

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


class SoftHsm:
    """Tokens of SoftHSM; the module reads where they are when it is initialized, for the whole process.

    Args:
        folder: an empty folder.
        labels: the tokens to make, each with the PIN of the tests.
    """

    profile = "softhsm"
    pin = PIN

    def __init__(self, folder: Path, labels: list[str]) -> None:
        self.module = next((path for path in MODULES if Path(path).exists()), "")
        self._program = shutil.which("softhsm2-util") or ""
        if not self.module or not self._program:
            raise TokenSoftwareMissing("SoftHSM is not installed: Debian's package softhsm2")
        self._tokens = folder / "tokens"
        self._tokens.mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self._tokens}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        self._folders = {label: self._make(label) for label in labels}

    def uri(self, label: str, name: str) -> str:
        return f"pkcs11:token={label};object={name}"

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """What the token's owner does from a process of their own."""
        return run_as_owner(self.module, label, what, name, *more)

    def back_up(self, label: str, place: Path) -> None:
        """Copy a token away."""
        shutil.copytree(self._folders[label], place)

    def restore(self, label: str, place: Path) -> None:
        """Put back what a token held when it was copied."""
        for file in sorted(place.iterdir(), key=lambda path: path.name == "generation"):
            shutil.copy2(file, self._folders[label] / file.name)

    def hide(self, label: str) -> None:
        """Take a token out of its slot."""
        self._folders[label].rename(self._tokens.parent / label)

    def show(self, label: str) -> None:
        """Put it back."""
        (self._tokens.parent / label).rename(self._folders[label])

    def _make(self, label: str) -> Path:
        before = set(self._tokens.iterdir())
        pins = ["--pin", PIN, "--so-pin", PIN]
        command = [self._program, "--init-token", "--free", "--label", label, *pins]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (made,) = set(self._tokens.iterdir()) - before
        return made
