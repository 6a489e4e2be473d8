"""An exchange key whose private half the tests hold, and work in a token of SoftHSM."""

import json
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from sqlalchemy_cmk.providers.byok import ExchangeKey
from tests.support.hsm.nss import LABEL, Nss
from tests.support.hsm.softhsm import SoftHsm

KID = "https://acme.vault.azure.net/keys/exchange/eba63d27e4e34e028839b53fac905621"
SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
TOKEN = "acme"


@pytest.fixture(scope="session")
def vault_key() -> rsa.RSAPrivateKey:
    """The private half of the exchange key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def exchange(vault_key: rsa.RSAPrivateKey) -> ExchangeKey:
    return ExchangeKey.of(KID, vault_key.public_key(), "RSA-HSM", ["import"])


def opened(vault_key: rsa.RSAPrivateKey, ciphertext: bytes) -> bytes:
    """What the vault's HSM sees: the two steps of the specification, with nothing of the library."""
    inner = vault_key.decrypt(ciphertext[:256], SHA1)
    assert len(inner) == 32
    return aes_key_unwrap_with_padding(inner, ciphertext[256:])


def in_token(token: SoftHsm | Nss, function: str, *arguments: str) -> Any:
    """Call a function of :mod:`tests.providers.byok.token_work` in a process of its own."""
    where = (f"nss:{token.folder}", LABEL) if isinstance(token, Nss) else (token.module, TOKEN)
    command = [sys.executable, "-m", "tests.providers.byok.token_work", *where]
    done = subprocess.run([*command, function, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
