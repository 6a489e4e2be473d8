"""The vault's side of bring your own key, through Microsoft's SDK; needs the extra ``[azure]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.keyvault.keys import JsonWebKey, KeyClient, KeyVaultKey
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers.azure.answers import TRANSIENT, Answer
from sqlalchemy_cmk.providers.azure.clients import failure
from sqlalchemy_cmk.providers.byok.blob import TransferBlob
from sqlalchemy_cmk.providers.byok.exchange import ExchangeKey, identifier
from sqlalchemy_cmk.providers.byok.target import CURVES, thumbprint

T = TypeVar("T")

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    CURVES[curve.name]: curve for curve in (ec.SECP256R1, ec.SECP256K1, ec.SECP384R1, ec.SECP521R1)
}


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key that the vault has imported.

    Attributes:
        kid: its identifier, with the new version.
        kty: its type.
        thumbprint: its public key's thumbprint; ``None`` for a symmetric key.
    """

    kid: str
    kty: str
    thumbprint: str | None


class ByokVault:
    """One vault or Managed HSM, to which keys are brought.

    Args:
        vault_url: its address.
        credential: one of ``azure.identity``, allowed to get and to import keys.
        options: further arguments of the SDK's client.
    """

    def __init__(self, vault_url: str, credential: Any, **options: Any) -> None:
        self._url = vault_url
        self._client = KeyClient(vault_url, credential, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def exchange_key(self, kid: str) -> ExchangeKey:
        """Fetch an exchange key's public key.

        Raises:
            ConfigurationError: the identifier is another vault's or has no version, there is no such key, it
                does not fit, or the caller may not get it.
            KeyUnavailable, CredentialError: the vault cannot be reached, or does not accept the credential.
        """
        named = identifier(kid)
        if named.vault_url != self._url:
            raise ConfigurationError(f"{kid} is in another vault than {self._url}")
        found = _asked(lambda: self._client.get_key(named.name, named.version), kid, "get")
        operations = [_text(one) for one in found.key_operations]
        return ExchangeKey.of(kid, _public(found.key), _text(found.key_type), operations)

    def import_key(
        self, name: str, raw: bytes, kty: str, operations: Iterable[str], curve: str | None = None
    ) -> ImportedKey:
        """Import a transfer blob as a key, or as a new version of the key of that name.

        Args:
            name: the key's name.
            raw: the blob's file, of this library or of an HSM's maker.
            kty: the target key's type: ``RSA-HSM``, ``EC-HSM`` or ``oct-HSM``.
            operations: what the key may be used for.
            curve: the curve of an ``EC-HSM`` key.

        Raises:
            TamperedError: the blob is damaged, or the exchange key does not unwrap it to a key of this type.
            ConfigurationError: the blob is for another vault or for a key that is no exchange key, the name
                belongs to a deleted key, or the caller may not import.
            KeyUnavailable, CredentialError: as for :meth:`exchange_key`.
        """
        blob = TransferBlob.load(raw)
        blob.check(self.exchange_key(blob.kid).wrapped_bytes)
        jwk = JsonWebKey(kty=kty, key_ops=list(operations), crv=curve, t=raw)
        target = f"{self._url}/keys/{name}"
        made = _asked(lambda: self._client.import_key(name, jwk, hardware_protected=True), target, "import")
        public = _public(made.key)
        return ImportedKey(str(made.id), _text(made.key_type), None if public is None else thumbprint(public))


def _public(jwk: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    if jwk.n and jwk.e:
        return rsa.RSAPublicNumbers(_number(jwk.e), _number(jwk.n)).public_key()
    curve = _CURVES.get(_text(jwk.crv))
    if curve is not None and jwk.x and jwk.y:
        return ec.EllipticCurvePublicNumbers(_number(jwk.x), _number(jwk.y), curve()).public_key()
    return None


def _text(value: Any) -> str:
    # The SDK gives what it knows as members of an enumeration.
    return str(getattr(value, "value", value))


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _asked(ask: Callable[[], KeyVaultKey], uri: str, operation: str) -> KeyVaultKey:
    try:
        return ask()
    except ClientAuthenticationError as error:
        raise failure(error) from None
    except HttpResponseError as error:
        raise _refusal(error, uri, operation) from None
    except AzureError as error:
        raise failure(error) from None
    except ValueError:
        # The SDK refuses a challenge for another resource before it asks for a token.
        raise ConfigurationError(f"{uri} is not the address of a vault") from None


def _refusal(error: HttpResponseError, uri: str, operation: str) -> CmkError:
    answer = Answer(error.status_code or 0, _body(error))
    what = f"{uri}: {operation} was answered {answer.status} {answer.code}".rstrip()
    if answer.status == 400:
        return TamperedError(
            f"{what}: the exchange key does not unwrap the blob to a key of this type; it is damaged, or "
            "was made for another type or curve"
        )
    if answer.status == 401:
        return CredentialError(f"{what}: the credential is not accepted")
    if answer.code == "KeyOperationForbidden":
        return ConfigurationError(f"{what}: the blob's key is no exchange key: it may be used for more")
    if answer.status == 403:
        return ConfigurationError(f"{what}: the credential may not do that: it takes get and import on keys")
    if answer.status == 404:
        return ConfigurationError(f"{what}: there is no such key or version in this vault")
    if answer.status == 409:
        return ConfigurationError(
            f"{what}: a deleted key has this name: recover or purge it, or take another"
        )
    if answer.status in TRANSIENT or answer.status >= 500:
        return KeyUnavailable(what)
    return ConfigurationError(what)


def _body(error: HttpResponseError) -> dict[str, Any]:
    try:
        body = error.response.json()  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
