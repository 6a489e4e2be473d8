"""What a token's owner does, in a process of their own: ``python -m tests.support.hsm.owner ...``."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, AttributeTypeInvalid, KeyType, MechanismFlag, ObjectClass, PinIncorrect

from tests.support.hsm import PIN

CLASSES = (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
WRAPS = MechanismFlag.WRAP | MechanismFlag.UNWRAP
CIPHERS = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT


def run_as_owner(module: str, label: str, what: str, name: str, *more: str, pin: str = PIN) -> str:
    """Run one of the acts below in another process, and return what it printed."""
    command = [sys.executable, "-m", __name__, module, label, what, name, *more]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "CMK_TEST_OWNER_PIN": pin},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def keys(session: Any, name: str) -> list[Any]:
    """Every key object of a label."""
    return [
        key for one in CLASSES for key in session.get_objects({Attribute.CLASS: one, Attribute.LABEL: name})
    ]


def delete(session: Any, name: str, id_: str = "") -> None:
    for key in keys(session, name):
        if not id_ or key[Attribute.ID].hex() == id_:
            key.destroy()


def make_aes(session: Any, name: str, id_: str, uses: str = "wrap", extractable: str = "") -> None:
    template = {Attribute.EXTRACTABLE: bool(extractable), Attribute.SENSITIVE: not extractable}
    chosen = {"wrap": WRAPS, "cipher": CIPHERS, "both": WRAPS | CIPHERS, "nothing": MechanismFlag.SIGN}[uses]
    session.generate_key(
        KeyType.AES,
        256,
        id=bytes.fromhex(id_),
        label=name,
        store=True,
        capabilities=chosen,
        template=template,
    )


def make_rsa(session: Any, name: str, id_: str, bits: str = "2048") -> None:
    hidden = {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True}
    session.generate_keypair(
        KeyType.RSA,
        int(bits),
        id=bytes.fromhex(id_),
        label=name,
        store=True,
        capabilities=WRAPS | CIPHERS,
        private_template=hidden,
    )


def forbid(session: Any, name: str) -> None:
    for key in keys(session, name):
        for use in (Attribute.UNWRAP, Attribute.DECRYPT):
            # A public key has neither.
            with suppress(AttributeTypeInvalid):
                if key[use]:
                    key[use] = False


def allow(session: Any, name: str) -> None:
    for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: name}):
        key[Attribute.DECRYPT] = True


def count(session: Any, name: str) -> None:
    print(len(list(session.get_objects())))


ACTS = {
    "delete": delete,
    "allow": allow,
    "make-aes": make_aes,
    "make-rsa": make_rsa,
    "forbid": forbid,
    "count": count,
}


def main(module: str, label: str, what: str, name: str, *more: str) -> None:
    if module.startswith("nss:"):
        from tests.support.hsm.nss import Nss

        module = Nss(Path(module.removeprefix("nss:"))).module
    token = next(one for one in pkcs11.lib(module).get_tokens() if one.label == label)
    if what == "set-pin":
        token.open(rw=True, so_pin="").init_pin(PIN)
    elif what == "mistype":
        with suppress(PinIncorrect):
            token.open(user_pin="not " + PIN)
    else:
        ACTS[what](token.open(rw=True, user_pin=os.environ["CMK_TEST_OWNER_PIN"]), name, *more)


if __name__ == "__main__":
    main(*sys.argv[1:])
