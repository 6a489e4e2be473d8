"""Target keys in a token of SoftHSM: wrapped there, or refused where it wraps unlike the vault."""

from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from sqlalchemy_cmk.providers.byok.target import thumbprint
from tests.providers.byok.conftest import KID, in_token, opened
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm


@pytest.fixture
def pem(vault_key: rsa.RSAPrivateKey, tmp_path: Path) -> str:
    path = tmp_path / "exchange.pem"
    public = vault_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(public)
    return str(path)


def test_an_rsa_key_is_wrapped_in_the_token(softhsm: SoftHsm, vault_key: rsa.RSAPrivateKey, pem: str) -> None:
    made = in_token(softhsm, "wrap_fitting", pem, KID)
    out = load_der_private_key(opened(vault_key, bytes.fromhex(made["wrapped"])), None)
    assert isinstance(out, rsa.RSAPrivateKey)
    assert out.public_key().public_numbers().n == int(made["n"], 16)
    assert made["thumbprint"] == thumbprint(out.public_key())
    assert made["left"] == 0


def test_a_token_whose_padding_is_another_one_is_refused(nss: Nss) -> None:
    label = f"byok-{uuid4().hex}"
    in_token(nss, "make", "AES", label, "yes")
    assert "no mechanism that wraps this key as RFC 5649 specifies" in in_token(nss, "refusal", label)
