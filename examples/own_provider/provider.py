"""KEKs in a service like HashiCorp Vault's Transit engine: ``transit:NAME`` is the key NAME there."""

import json
import re
from base64 import b64decode, b64encode
from http.client import HTTPConnection, HTTPException
from typing import Any

from sqlalchemy_cmk import CmkError, CredentialError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers import KeyProvider, Retries, Secret, Wrapped, foreign_algorithm, foreign_version

ALGORITHM = "transit"
URI = re.compile(r"transit:([a-z0-9-]{1,64})", re.ASCII)
VERSION = re.compile(r"v[1-9][0-9]{0,8}", re.ASCII)


class TransitProvider(KeyProvider):
    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port, self._token = host, port, Secret(token.encode())
        self._retries = Retries(host, retries=2, bound=10)  # and a circuit breaker

    def handles(self, kek_uri: str) -> bool:
        return URI.fullmatch(kek_uri) is not None

    def place_of(self, kek_uri: str) -> str:
        return self._host  # its keys are out of reach together

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        answer = self._ask(kek_uri, "encrypt", lambda: {"plaintext": b64encode(dek.reveal()).decode()})
        _, version, text = answer["ciphertext"].split(":")
        # The bytes and not their base64, of which there are several spellings.
        wrapped = Wrapped(kek_uri, version, ALGORITHM, b64decode(text))
        self.check_wrapping(wrapped)
        return wrapped

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.check_wrapping(wrapped)
        text = f"vault:{wrapped.kek_version}:{b64encode(wrapped.data).decode()}"
        answer = self._ask(wrapped.kek_uri, "decrypt", lambda: {"ciphertext": text})
        return Secret(b64decode(answer["plaintext"]))

    def check_wrapping(self, wrapped: Wrapped) -> None:
        # A row of the database says this: nothing but what this provider has once written becomes a request.
        if not VERSION.fullmatch(wrapped.kek_version):
            raise foreign_version(wrapped)
        if wrapped.algorithm != ALGORITHM:
            raise foreign_algorithm(wrapped)

    def newest_version(self, kek_uri: str) -> str:
        return f"v{self._ask(kek_uri, 'keys', dict)['latest_version']}"

    def _ask(self, kek_uri: str, operation: str, body: Any) -> Any:
        path = f"/v1/transit/{operation}/{kek_uri.removeprefix('transit:')}"

        def attempt(seconds: float) -> Any:
            status, answer = self._send(path, body, min(seconds, 5))
            if status != 200:
                raise error_of(status, f"{kek_uri}: {operation} was answered {status}")
            return answer

        return self._retries.run(attempt)

    def _send(self, path: str, body: Any, seconds: float) -> tuple[int, Any]:
        # HTTPSConnection outside of an example. Neither follows redirects: the token goes nowhere else.
        connection = HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            token = {"X-Vault-Token": self._token.reveal().decode()}
            connection.request("POST", path, json.dumps(body()), token)
            response = connection.getresponse()
            return response.status, json.loads(response.read()).get("data")
        except (OSError, HTTPException, ValueError):
            return 0, None  # the error is made by the caller, where nothing holds the request
        finally:
            connection.close()


def error_of(status: int, what: str) -> CmkError:
    """Return what an answer means: revoked and unavailable are never taken for each other."""
    if status == 400:
        return TamperedError(f"{what}: a wrapped DEK is damaged")
    if status == 401:
        return CredentialError(f"{what}: the application's token is not accepted; renew it")
    if status in (403, 404):
        return KeyRevoked(f"{what}: the key's owner has taken access away; ask them to restore it")
    return KeyUnavailable(f"{what}: the service cannot be reached now")
