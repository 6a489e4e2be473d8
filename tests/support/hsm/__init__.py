"""Real tokens for the tests, in temporary folders; openCryptoki's is the machine's."""

from pathlib import Path

FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
PIN = "pin-of-the-tests-4711"


class TokenSoftwareMissing(Exception):
    """The software of a token is not on this machine."""


def library(name: str) -> str:
    """The path of a shared library of this machine, or of a PKCS#11 module; empty if there is none."""
    places = (Path(folder, below, name) for folder in FOLDERS for below in ("", "pkcs11"))
    return next((str(path) for path in places if path.exists()), "")
