"""Work in a token, as a process of its own: ``python -m ... MODULE TOKEN FUNCTION ARGUMENT...``."""

import json
import sys
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers.byok import ExchangeKey
from sqlalchemy_cmk.providers.byok.token import TokenKey
from sqlalchemy_cmk.providers.pkcs11.profiles import PROFILES
from tests.support.hsm import PIN
from tests.support.hsm.nss import Nss

FITTING = 200


def make(session: Any, kind: str, label: str, extractable: str) -> None:
    """Make a key in the token."""
    options = {Attribute.EXTRACTABLE: bool(extractable)}
    if kind == "AES":
        session.generate_key(KeyType.AES, 256, label=label, store=True, template=options)
    elif kind == "RSA":
        session.generate_keypair(KeyType.RSA, 2048, label=label, store=True, private_template=options)
    else:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
        parameters.generate_keypair(label=label, store=True, private_template=options)


def wrap_fitting(session: Any, pem: str, kid: str) -> dict[str, Any]:
    """Wrap an RSA key of a length that SoftHSM need not fill up; make keys until there is one."""
    exchange = ExchangeKey.of(kid, load_pem_public_key(Path(pem).read_bytes()))
    peek = bytes(range(32))
    seeing = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: peek,
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
        }
    )
    for _ in range(FITTING):
        public, private = session.generate_keypair(
            KeyType.RSA, 2048, store=False, private_template={Attribute.EXTRACTABLE: True}
        )
        plain = aes_key_unwrap_with_padding(
            peek, seeing.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        )
        if int.from_bytes(plain[2:4], "big") + 4 == len(plain):
            break
    key = TokenKey(session, private, PROFILES["softhsm"])
    before = objects(session)
    wrapped = key.wrap_with(Mechanism.AES_KEY_WRAP_PAD, exchange)
    modulus = public[Attribute.MODULUS].hex()
    left = objects(session) - before
    return {"wrapped": wrapped.hex(), "n": modulus, "thumbprint": key.thumbprint, "left": left}


def refusal(session: Any, label: str) -> str:
    """Why no mechanism of this token wraps a key."""
    (key,) = session.get_objects({Attribute.LABEL: label})
    try:
        return TokenKey(session, key, PROFILES["nss"]).mechanism().name
    except ConfigurationError as error:
        return str(error)


def objects(session: Any, *_: str) -> int:
    """How many objects the session sees."""
    return sum(1 for _ in session.get_objects({}))


if __name__ == "__main__":
    module, token, function, *arguments = sys.argv[1:]
    if module.startswith("nss:"):
        module = Nss(Path(module.removeprefix("nss:"))).module
    with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=PIN) as opened:
        print(json.dumps(globals()[function](opened, *arguments)))
