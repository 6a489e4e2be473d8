"""Signatures of webhooks, after Standard Webhooks. See :func:`verify_webhook`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: HMAC-SHA-256 (RFC
2104) over the message's id, the time of the attempt and the body, joined by full stops.
"""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sqlalchemy_cmk.errors import ConfigurationError, UnverifiedWebhook
from sqlalchemy_cmk.runtime.secret import Secret

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
VERSION = "v1"


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance: float = 300,
) -> dict[str, Any]:
    """Return the CloudEvent of a webhook that was received, once its signature is verified.

    Args:
        headers: the request's, whatever the case of their names.
        body: the request's body, byte by byte as it came.
        secret: the webhook's secret, ``whsec_...``; several while it is changed.
        tolerance: seconds by which the time of the attempt may differ from this machine's clock. Default 300.

    Raises:
        UnverifiedWebhook: it was not signed with this secret, or not now, or it is no CloudEvent. Answer 401.
        ConfigurationError: the secret is none.
    """
    keys = signing_keys(secret)
    given = {name.lower(): value for name, value in headers.items()}
    if not {ID, TIMESTAMP, SIGNATURE} <= given.keys():
        raise UnverifiedWebhook(
            f"the request lacks {ID}, {TIMESTAMP} or {SIGNATURE}: it is no signed webhook"
        )
    at = given[TIMESTAMP]
    if not (at.isascii() and at.isdigit() and len(at) <= 12 and abs(time.time() - int(at)) <= tolerance):
        raise UnverifiedWebhook(
            f"the webhook was not signed within {tolerance:g} seconds of now: set this machine's clock, and "
            "refuse requests that are played back"
        )
    said = [one.encode() for one in given[SIGNATURE].split()]
    wanted = [_signature(key, given[ID], int(at), body).encode() for key in keys]
    if not any([hmac.compare_digest(one, other) for one in said for other in wanted]):
        raise UnverifiedWebhook("the webhook was not signed with this secret")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnverifiedWebhook("the webhook's body is no JSON object") from None


def sign(keys: Iterable[Secret], message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a request.

    Args:
        keys: the webhook's signing keys; each makes a signature.
        message_id: names the message, the same at each attempt.
        at: when the request is made, in seconds since 1970.
        body: the request's body.
    """
    signatures = " ".join(_signature(key, message_id, at, body) for key in keys)
    return {ID: message_id, TIMESTAMP: str(at), SIGNATURE: signatures}


def signing_keys(secret: str | Sequence[str]) -> tuple[Secret, ...]:
    """Return the keys of a webhook's secret, or of several.

    Raises:
        ConfigurationError: one is not a secret.
    """
    given = tuple(secret) if isinstance(secret, list | tuple) else (secret,)
    keys = tuple(key for one in given if (key := _key(one)) is not None)
    if not keys or len(keys) != len(given):
        # What was given is not quoted: it is a secret, or nearly one.
        raise ConfigurationError(
            f"a webhook's secret is {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64: make one "
            f'with echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return keys


def _key(secret: object) -> Secret | None:
    if not isinstance(secret, str):
        return None
    try:
        key = Secret(b64decode(secret.removeprefix(PREFIX), validate=True))
    except ValueError:
        return None
    return key if secret.startswith(PREFIX) and SHORTEST <= len(key) <= LONGEST else None


def _signature(key: Secret, message_id: str, at: int, body: bytes) -> str:
    message = f"{message_id}.{at}.".encode() + body
    return f"{VERSION},{b64encode(hmac.digest(key.reveal(), message, 'sha256')).decode()}"
