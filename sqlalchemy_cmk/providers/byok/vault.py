"""The vault into which a key is brought, through the Azure SDK; needs the extra ``[azure]``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sqlalchemy_cmk.errors import ConfigurationError, CredentialError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers import _base64url
from sqlalchemy_cmk.providers.azure.answers import Answer, summary
from sqlalchemy_cmk.providers.azure.clients import BlockingClient
from sqlalchemy_cmk.providers.azure.hosts import TrustedHosts
from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier, parse_identifier
from sqlalchemy_cmk.providers.azure.vault import Vault
from sqlalchemy_cmk.providers.azure.vault_request import VaultRequest
from sqlalchemy_cmk.providers.byok.blob import TransferBlob
from sqlalchemy_cmk.providers.byok.exchange import ExchangeKey, identifier
from sqlalchemy_cmk.providers.byok.target import CURVES, thumbprint

DEFAULTS = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 60}
# A person waits: for the sign-in of a command line, and for an HSM.
BOUND = 120

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    CURVES[curve.name]: curve for curve in (ec.SECP256R1, ec.SECP256K1, ec.SECP384R1, ec.SECP521R1)
}


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key that a vault has imported.

    Attributes:
        kid: its identifier with the new version.
        kty: its type.
        thumbprint: its public key's thumbprint; ``None`` for a symmetric key.
    """

    kid: str
    kty: str
    thumbprint: str | None


class ByokVault:
    """A vault or Managed HSM into which keys are brought.

    Args:
        key: a key in it; its name does not matter.
        credential: one of ``azure.identity``, allowed to get and to import keys.
        trusted_hosts: further hosts to which tokens may be sent; see ``AzureKeyVaultProvider``.
        options: further arguments of the SDK's client.

    Raises:
        ConfigurationError: its host is not trusted.
    """

    def __init__(
        self, key: KeyIdentifier, credential: Any, trusted_hosts: Iterable[str] = (), **options: Any
    ) -> None:
        self._url = key.vault_url
        self._where = key.host, key.port
        if not TrustedHosts(trusted_hosts).trusts(key):
            raise ConfigurationError(
                f"{self._url} is not the address of a vault in Azure: no token is sent there; if it is an "
                "emulator, name its host and port as a trusted host"
            )
        client = BlockingClient(self._url, credential, {**DEFAULTS, **options})
        # No repetitions: each import makes a version.
        self._vault = Vault(key.host, client, 0, BOUND)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vault.close()

    def exchange_key(self, kid: str) -> ExchangeKey:
        """Fetch an exchange key's public key from the vault.

        Raises:
            ConfigurationError: the identifier is of another vault or has no version, there is no such key, it
                cannot be an exchange key, or the credential may not get it.
            KeyUnavailable, CredentialError: the vault cannot be reached, or does not accept the credential.
        """
        named = identifier(kid)
        if named.vault_url != self._url:
            raise ConfigurationError(f"{kid} is in another vault than {self._url}")
        found = _key(self._vault.get(named.at(named.version)), kid, "get")
        return ExchangeKey.of(kid, _public(found), found.kty, found.key_ops)

    def import_key(
        self, name: str, raw: bytes, kty: str, operations: Iterable[str], curve: str | None = None
    ) -> ImportedKey:
        """Import a transfer blob as a key, or as a new version of the key with that name.

        Args:
            name: the key's name.
            raw: the content of the blob's file, made by this library or by an HSM vendor's tool.
            kty: the target key's type: ``RSA-HSM``, ``EC-HSM`` or ``oct-HSM``.
            operations: the operations that the key may be used for.
            curve: the curve of an ``EC-HSM`` key.

        Raises:
            TamperedError: the blob is damaged, or the exchange key does not unwrap it to a key of this type.
            ConfigurationError: the blob is for another vault or for a key that is not an exchange key, a
                deleted key has the name, or the credential may not import.
            KeyUnavailable, CredentialError: as for :meth:`exchange_key`.
        """
        blob = TransferBlob.load(raw)
        blob.check(self.exchange_key(blob.kid).wrapped_bytes)
        target = KeyIdentifier(*self._where, name, None)
        jwk = {"kty": kty, "key_ops": list(operations), "crv": curve, "key_hsm": _base64url.encode(raw)}
        body = {"key": {member: value for member, value in jwk.items() if value is not None}, "Hsm": True}
        uri = f"{target.vault_url}/{target.at()}".rstrip("/")
        made = _key(self._vault.send(VaultRequest("PUT", f"keys/{target.name}", body)), uri, "import")
        public = _public(made)
        return ImportedKey(made.kid, made.kty, None if public is None else thumbprint(public))


class _Jwk(msgspec.Struct):
    kid: str
    kty: str
    key_ops: list[str] = []
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


class _Bundle(msgspec.Struct):
    key: _Jwk


def _key(answer: Answer, uri: str, operation: str) -> _Jwk:
    if answer.status != 200:
        _refuse(answer, uri, operation)
    try:
        found = msgspec.convert(answer.body, _Bundle).key
    except msgspec.ValidationError:
        found = None
    if found is None or parse_identifier(found.kid) is None:
        raise KeyUnavailable(f"{uri}: the vault's answer describes no key")
    return found


def _public(jwk: _Jwk) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    try:
        if jwk.n and jwk.e:
            return rsa.RSAPublicNumbers(_number(jwk.e), _number(jwk.n)).public_key()
        curve = _CURVES.get(jwk.crv or "")
        if curve is not None and jwk.x and jwk.y:
            return ec.EllipticCurvePublicNumbers(_number(jwk.x), _number(jwk.y), curve()).public_key()
    except ValueError:
        raise KeyUnavailable(f"{jwk.kid}: the vault's answer describes no public key") from None
    return None


def _number(text: str) -> int:
    return int.from_bytes(_base64url.decode(text), "big")


def _refuse(answer: Answer, uri: str, operation: str) -> NoReturn:
    what = summary(answer, uri, operation)
    if answer.status == 400:
        raise TamperedError(
            f"{what}: the exchange key does not unwrap the blob to a key of this type; it is damaged, or "
            "was made for another type or curve"
        )
    if answer.status == 401:
        raise CredentialError(f"{what}: the credential is not accepted")
    if answer.code == "KeyOperationForbidden":
        raise ConfigurationError(
            f"{what}: the blob's key may be used for more than import: it cannot be an exchange key"
        )
    if answer.status == 403:
        raise ConfigurationError(f"{what}: the credential may not do that: grant it get and import on keys")
    if answer.status == 409:
        raise ConfigurationError(
            f"{what}: a deleted key has this name: recover or purge it, or choose another name"
        )
    raise ConfigurationError(f"{what}: there is no such key or version in this vault")
