"""The directory: principals that may log in, and the tokens that were issued."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy_cmk.testing.access import Principal
from sqlalchemy_cmk.testing.messages import encode

EXCHANGE = "api://AzureADTokenExchange"
"""The audience of tokens that stand for an application."""

CAE_CLAIMS = base64.b64encode(
    json.dumps({"access_token": {"nbf": {"essential": True, "value": "0"}}}).encode()
).decode()


@dataclass(frozen=True)
class Token:
    """An issued token: its principal, its audience and its expiry."""

    principal: Principal
    audience: str
    expires: float


class TokenIssuer:
    """Issues tokens and recognizes them.

    Args:
        authority: the issuer's address.
        tenant_id: the directory's id.
        lifetime: how long a token is valid, in seconds of real time.
    """

    def __init__(self, authority: str, tenant_id: str, lifetime: int) -> None:
        self.authority = authority
        self.tenant_id = tenant_id
        self.lifetime = lifetime
        self._lock = threading.Lock()
        self._principals: dict[str, Principal] = {}
        self._tokens: dict[str, Token] = {}
        self._expired: set[str] = set()
        self._trusted: dict[str, tuple[Principal, TokenIssuer]] = {}
        self._ask_for_claims = False

    def register(self, principal: Principal) -> Principal:
        """Allow a principal to log in."""
        with self._lock:
            self._principals[principal.client_id] = principal
        return principal

    def principal(self, client_id: str) -> Principal | None:
        """Return the principal with this application id."""
        with self._lock:
            return self._principals.get(client_id)

    def trust(self, application: Principal, identity: Principal, issuer: TokenIssuer) -> None:
        """Let the tokens that an issuer gives an identity, for the exchange, stand for an application."""
        with self._lock:
            self._trusted[application.client_id] = identity, issuer

    def trusts(self, application: Principal, assertion: str) -> bool:
        """Return whether a token stands for an application."""
        with self._lock:
            identity, issuer = self._trusted.get(application.client_id, (None, self))
        token = issuer.find(assertion, EXCHANGE)
        return token is not None and token.principal == identity

    def issue(self, principal: Principal, audience: str) -> str:
        """Issue a token. It looks like a JWT, but its signature is random bytes."""
        now = time.time()
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            "iat": int(now),
            "exp": int(now) + self.lifetime,
            "appid": principal.client_id,
            "oid": principal.object_id,
            "tid": self.tenant_id,
            "uti": uuid4().hex,
        }
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256"}, claims)]
        text = ".".join(encode(part) for part in [*parts, secrets.token_bytes(32)])
        with self._lock:
            self._tokens = {old: token for old, token in self._tokens.items() if token.expires > now - 3600}
            self._tokens[text] = Token(principal, audience, now + self.lifetime)
        return text

    def expire(self, ask_for_claims: bool) -> None:
        """Invalidate every token that was issued so far."""
        with self._lock:
            self._expired = set(self._tokens)
            self._ask_for_claims = ask_for_claims

    def find(self, text: str, audience: str) -> Token | None:
        """Return the token if it is valid for this audience."""
        with self._lock:
            token = self._tokens.get(text)
            if token is None or text in self._expired:
                return None
            valid = token.audience == audience and token.expires > time.time()
            return token if valid else None

    def challenge(self, resource: str, token: str | None) -> str:
        """Return the ``WWW-Authenticate`` header for a request without a valid token."""
        where = f'authorization="{self.authority}/{self.tenant_id}", resource="{resource}"'
        with self._lock:
            asks = token in self._expired and self._ask_for_claims
        if asks:
            return f'Bearer {where}, error="insufficient_claims", claims="{CAE_CLAIMS}"'
        return f"Bearer {where}" if token is None else f'Bearer {where}, error="invalid_token"'
