"""Answers the requests of Azure Event Grid. See :class:`EventGridReceiver`."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.eventgrid.following import Following
from sqlalchemy_cmk.eventgrid.messages import read_messages
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.runtime.secret import Secret

# Event Grid posts up to 1 MB at once.
LONGEST_BODY = 1_100_000
SHORTEST_SECRET = 32
PARAMETER, HEADER = "code", "x-cmk-secret"
# Requests a minute that Event Grid may send, which it asks before it sends CloudEvents.
RATE = "120"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class EventGridReceiver:
    """Takes events of keys in Azure Key Vault: a new version is followed by a rewrap, an expiry by an event.

    Requests have to bring a secret: as ``?code=...`` in the address that the subscription has, or in the
    header ``X-Cmk-Secret``. Tokens of Microsoft Entra are not looked at. What a request says is a hint only:
    the vault itself is asked.

    Args:
        keyring: whose KEKs are looked at, for each of its engines.
        secret: at least 32 characters; several while it is changed.
        origins: who may send CloudEvents, as the handshake names itself.

    Raises:
        ConfigurationError: the secret is too short.
    """

    def __init__(
        self,
        keyring: Keyring,
        secret: str | Sequence[str],
        *,
        origins: Sequence[str] = ("eventgrid.azure.net",),
    ) -> None:
        given = [secret] if isinstance(secret, str) else list(secret)
        if not given or not all(isinstance(one, str) and len(one) >= SHORTEST_SECRET for one in given):
            raise ConfigurationError(
                f"secret is what Event Grid's address ends with: give {SHORTEST_SECRET} characters or more, "
                "as openssl rand -hex 32 prints them"
            )
        self._secrets = [Secret(one.encode()) for one in given]
        self._origins = frozenset(origins)
        self._following = Following(keyring)

    def answer(self, method: str, headers: Mapping[str, str], query: str, body: bytes) -> Answer:
        """Answer a request; what it leads to happens in the background.

        Args:
            method: its method.
            headers: its headers, whatever the case of their names.
            query: its query string, without the question mark.
            body: its body; what is longer than :data:`LONGEST_BODY` need not be read to its end.
        """
        given = {name.lower(): value for name, value in headers.items()}
        if not self._is_known(given.get(HEADER), query):
            return Answer(401)
        if method == "OPTIONS":
            return self._handshake(given.get("webhook-request-origin", ""))
        if method != "POST":
            return Answer(405, {"Allow": "POST, OPTIONS"})
        if len(body) > LONGEST_BODY:
            return Answer(413)
        try:
            messages = read_messages(body)
        except ValueError:
            return Answer(400)
        if not self._following.follow(messages.notices):
            return Answer(503, {"Retry-After": "60"})
        if not messages.validation_code:
            return Answer(200)
        said = json.dumps({"validationResponse": messages.validation_code}).encode()
        return Answer(200, {"Content-Type": "application/json"}, said)

    def _handshake(self, origin: str) -> Answer:
        """Answer whether CloudEvents may be sent.

        https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md#4-abuse-protection
        """
        if origin not in self._origins:
            return Answer(403)
        allowed = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": RATE, "Allow": "POST, OPTIONS"}
        return Answer(200, allowed)

    def _is_known(self, header: str | None, query: str) -> bool:
        said = [] if header is None else [header]
        try:
            said += parse_qs(query, max_num_fields=20).get(PARAMETER, [])
        except ValueError:
            return False
        texts = [one.encode(errors="replace") for one in said]
        # Every comparison is made, so that the time says nothing.
        return any([hmac.compare_digest(one, key.reveal()) for one in texts for key in self._secrets])
