"""A target key in a PKCS#11 token, which wraps it: the key never leaves the token in the clear.

Needs the extra ``[pkcs11]``. The token makes an AES-256 session key, wraps the target key by it with AES key
wrap with padding (RFC 5649), and wraps the AES key for the exchange key with RSA-OAEP and SHA-1. Microsoft's
specification names this combination as equal to ``CKM_RSA_AES_KEY_WRAP``, which python-pkcs11 0.10 cannot
call.

Tokens differ in what their mechanisms for RFC 5649 do: SoftHSM 2.6 first fills keys with zeros to a multiple
of 8 bytes (github.com/softhsm/SoftHSMv2/pull/307), and NSS 3.87 pads in another way under one of the numbers.
So a mechanism is used only after it has given RFC 5649's own test result in this token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import AttributeTypeInvalid, PKCS11Error

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.providers.byok.blob import TransferBlob, generator
from sqlalchemy_cmk.providers.byok.exchange import INNER_BYTES, ExchangeKey
from sqlalchemy_cmk.providers.byok.target import thumbprint
from sqlalchemy_cmk.providers.pkcs11.failures import meaning, name_of
from sqlalchemy_cmk.providers.pkcs11.identifiers import FORM, KekIdentifier, is_pkcs11, parse_identifier
from sqlalchemy_cmk.providers.pkcs11.mechanisms import mechanism_of
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.pins import Pin, PinSource
from sqlalchemy_cmk.providers.pkcs11.profiles import Profile, find_profile
from sqlalchemy_cmk.providers.pkcs11.tokens import find_token, open_session

KTYS = {
    KeyType.RSA: "RSA-HSM",
    KeyType.EC: "EC-HSM",
    KeyType.AES: "oct-HSM",
    KeyType.GENERIC_SECRET: "oct-HSM",
}
PADDED = (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD)

# RFC 5649, section 6: a key of 20 bytes under one of 192 bits. Symmetric keys are multiples of 8 bytes.
PROBE_KEY = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
PROBE = bytes.fromhex("c37b7e6492584340bed12207808941155068f738")
EVEN_PROBE = PROBE[:16]

CLASSES = {"private": ObjectClass.PRIVATE_KEY, "secret-key": ObjectClass.SECRET_KEY}


class TokenKey:
    """A target key in a token whose session is open.

    Args:
        session: a session that is logged in.
        key: the private or secret key.
        profile: the profile of the token's make.

    Attributes:
        kty: its type in the vault: ``RSA-HSM``, ``EC-HSM`` or ``oct-HSM``.
    """

    def __init__(self, session: Any, key: Any, profile: Profile) -> None:
        self._session = session
        self._key = key
        own = profile.mechanisms.get("AES-KWP")
        self._padded: tuple[Mechanism, ...] = (*((mechanism_of(own),) if own else ()), *PADDED)
        if key.key_type not in KTYS:
            raise ConfigurationError(f"the key {key.label!r} is of a type that vaults do not import")
        self.kty = KTYS[key.key_type]

    @property
    def thumbprint(self) -> str | None:
        """The public key's thumbprint, if the key is RSA and the token shows its public numbers."""
        try:
            n, e = (self._key[one] for one in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
        except (AttributeTypeInvalid, KeyError):
            return None
        numbers = rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big"))
        return thumbprint(numbers.public_key())

    def wrap(self, exchange: ExchangeKey) -> TransferBlob:
        """Let the token wrap the key for an exchange key.

        Raises:
            ConfigurationError: the key may not be extracted, or the token has no mechanism that wraps it as
                the vault unwraps.
        """
        try:
            wrapped = self.wrap_with(self.mechanism(), exchange)
        except PKCS11Error as error:
            raise ConfigurationError(
                f"the token does not wrap the key {self._key.label!r} ({name_of(error)}): make the key "
                "with CKA_EXTRACTABLE, and set the token up for the export of wrapped keys"
            ) from None
        token = self._session.token
        source = f"{token.manufacturer_id} {token.model} {'.'.join(map(str, token.firmware_version))}"
        blob = TransferBlob(exchange.kid, wrapped, generator(source))
        blob.check(exchange.wrapped_bytes)
        return blob

    def wrap_with(self, mechanism: Mechanism, exchange: ExchangeKey) -> bytes:
        """Let the token wrap the key with a mechanism that is known to be that of RFC 5649."""
        numbers = exchange.public.public_numbers()
        with ExitStack() as made:
            public = self._session.create_object(
                {
                    Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                    Attribute.KEY_TYPE: KeyType.RSA,
                    Attribute.TOKEN: False,
                    Attribute.WRAP: True,
                    Attribute.MODULUS: _octets(numbers.n),
                    Attribute.PUBLIC_EXPONENT: _octets(numbers.e),
                }
            )
            made.callback(public.destroy)
            inner = self._session.generate_key(
                KeyType.AES,
                INNER_BYTES * 8,
                store=False,
                capabilities=MechanismFlag.WRAP,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True},
            )
            made.callback(inner.destroy)
            oaep = (Mechanism.SHA_1, MGF.SHA1, None)
            head = public.wrap_key(inner, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=oaep)
            return bytes(head + inner.wrap_key(self._key, mechanism=mechanism))

    def mechanism(self) -> Mechanism:
        """Return the mechanism with which this token wraps such a key as RFC 5649 specifies.

        Raises:
            ConfigurationError: there is none.
        """
        probe = EVEN_PROBE if self.kty == "oct-HSM" else PROBE
        offered = {int(one) for one in self._session.token.slot.get_mechanisms()}
        for candidate in self._padded:
            if int(candidate) in offered and self._answers(candidate, probe):
                return candidate
        raise ConfigurationError(
            f"{self._session.token.model} has no mechanism that wraps this key as RFC 5649 specifies, and no "
            "vault could unwrap it: use the tool of the token's vendor"
        )

    def _answers(self, mechanism: Mechanism, probe: bytes) -> bool:
        try:
            with ExitStack() as made:
                wrapping = self._known(KeyType.AES, PROBE_KEY, Attribute.WRAP, made)
                wrapped = self._known(KeyType.GENERIC_SECRET, probe, Attribute.EXTRACTABLE, made)
                answer = bytes(wrapping.wrap_key(wrapped, mechanism=mechanism))
        except PKCS11Error:
            return False
        return answer == aes_key_wrap_with_padding(PROBE_KEY, probe)

    def _known(self, key_type: KeyType, value: bytes, use: Attribute, made: ExitStack) -> Any:
        template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: key_type, use: True}
        key = self._session.create_object({**template, Attribute.TOKEN: False, Attribute.VALUE: value})
        made.callback(key.destroy)
        return key


@contextmanager
def open_key(
    module: str | None, uri: str, pin: Pin, profile: Profile | str = "generic"
) -> Iterator[TokenKey]:
    """Log in to a token and find the target key there; at the end close the session.

    Args:
        module: the path of the token's PKCS#11 module; ``None`` for the profile's.
        uri: the key's URI (RFC 7512), with ``token`` or ``serial``, and ``object`` or ``id``.
        pin: the source of the PIN, as for ``Pkcs11KeyProvider``.
        profile: the profile of the token's make, or its name.

    Raises:
        ConfigurationError: the URI names no key or several, or no module is given.
        CredentialError: the PIN is not accepted.
        KeyUnavailable: the token is not there.
    """
    make = find_profile(profile)
    if not (module or make.module):
        raise ConfigurationError(f"the profile {make.name!r} names no PKCS#11 module: give the module's path")
    if not is_pkcs11(uri):
        raise ConfigurationError(f"write the URI of a key in a token as {FORM}")
    identifier, shared = parse_identifier(uri), module_at(module or make.module)
    with shared.exclusive() as library:
        try:
            opened = open_session(shared, find_token(library, identifier), PinSource(pin), make.login)
        except PKCS11Error as error:
            raise meaning(error, uri) from None
        try:
            yield TokenKey(opened.session, _found(opened.session, identifier, uri), make)
        finally:
            opened.close()


def _found(session: Any, identifier: KekIdentifier, uri: str) -> Any:
    given = {Attribute.LABEL: identifier.label, Attribute.ID: identifier.id}
    template = {name: value for name, value in given.items() if value is not None}
    try:
        found = [
            one
            for name, kind in CLASSES.items()
            if identifier.type in (None, name)
            for one in session.get_objects({Attribute.CLASS: kind, Attribute.TOKEN: True, **template})
        ]
    except PKCS11Error as error:
        raise meaning(error, uri) from None
    if len(found) != 1:
        count = f"{len(found)} keys" if found else "no private or secret key"
        raise ConfigurationError(f"{uri} names {count} in its token: name one, by object= and id=")
    return found[0]


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
