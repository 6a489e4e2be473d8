"""Clients of boto3, one for each account and region; no log line and no error shows a key that they send."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from sqlalchemy_cmk.errors import CmkError, KeyUnavailable
from sqlalchemy_cmk.providers._retries import Retries
from sqlalchemy_cmk.providers.aws.answers import meaning
from sqlalchemy_cmk.providers.aws.identifiers import KeyArn
from sqlalchemy_cmk.runtime.because import call_id
from sqlalchemy_cmk.runtime.forks import watch_forks
from sqlalchemy_cmk.runtime.secret import Secret

CONNECT_TIMEOUT, READ_TIMEOUT = 3, 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What KMS has answered.

    Attributes:
        key_arn: the key that was used, where the answer names it.
        metadata: the description of a key; empty if none was asked for.
        value: the wrapped or unwrapped bytes; ``None`` if there are none.
    """

    key_arn: str
    metadata: Mapping[str, Any]
    value: Secret | None


class Clients:
    """Makes requests to KMS.

    Args:
        session_for: returns the boto3 session for an account's keys.
        retries: how many times a request is repeated.
        bound: seconds that a request takes at most, with its repetitions.
        user_agent: names the application in CloudTrail.
        options: further arguments of ``session.client("kms", ...)``.
    """

    def __init__(
        self,
        session_for: Callable[[str], Any],
        retries: int,
        bound: float,
        user_agent: str,
        options: dict[str, Any],
    ) -> None:
        self._session_for = session_for
        self._retries = retries
        self._bound = bound
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"total_max_attempts": 1},
            user_agent_extra=user_agent,
        )
        given = options.get("config")
        self._options = {**options, "config": config.merge(given) if given is not None else config}
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], tuple[Any, Retries]] = {}
        watch_forks(self)

    def ask(
        self, kek_uri: str, arn: KeyArn, operation: str, request: Callable[[], Mapping[str, Any]]
    ) -> Answer:
        """Return KMS's answer about a key.

        Args:
            kek_uri: the KEK, for messages.
            arn: the key.
            operation: ``Encrypt``, ``Decrypt`` or ``DescribeKey``.
            request: returns the request's parameters; a DEK is revealed there and nowhere else.

        Raises:
            KeyRevoked, KeyUnavailable, CredentialError, ConfigurationError, TamperedError: see
                :mod:`sqlalchemy_cmk.providers.aws.answers`.
        """
        client, retries = self._client(arn)

        def attempt(_: float) -> Answer:
            answer = _answer(client, kek_uri, operation, request)
            # Raised here, where no frame and no context of it holds the request.
            if isinstance(answer, CmkError):
                raise answer
            return answer

        return retries.run(attempt)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            made, self._made = self._made, {}
        for client, _ in made.values():
            client.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent; the child opens its own."""
        self._lock = threading.Lock()
        self._made = {}

    def _client(self, arn: KeyArn) -> tuple[Any, Retries]:
        place = arn.account, arn.region
        with self._lock:
            if place not in self._made:
                session = self._session_for(arn.account)
                client = session.client("kms", region_name=arn.region, **self._options)
                client.meta.events.register("before-send.kms", _name_the_call)
                self._made[place] = client, Retries(arn.place, self._retries, self._bound)
                _silence()
            return self._made[place]


def default_session() -> Any:
    """Return a boto3 session with the credentials of the process."""
    return boto3.Session()


_METHODS = {"Encrypt": "encrypt", "Decrypt": "decrypt", "DescribeKey": "describe_key"}


def _answer(
    client: Any, kek_uri: str, operation: str, request: Callable[[], Mapping[str, Any]]
) -> Answer | CmkError:
    try:
        _quiet.asking = True
        return _read(getattr(client, _METHODS[operation])(**request()))
    except Exception as error:
        return meaning(error, operation, kek_uri)
    finally:
        _quiet.asking = False


def _read(answer: dict[str, Any]) -> Answer:
    value = next((Secret(answer.pop(one)) for one in ("Plaintext", "CiphertextBlob") if one in answer), None)
    metadata = answer.get("KeyMetadata") or {}
    named = answer.get("KeyId") or metadata.get("Arn")
    if not isinstance(named, str):
        raise KeyUnavailable("the answer names no key")
    return Answer(named, metadata, value)


def _name_the_call(request: Any, **_: Any) -> None:
    """Give a request the id of its call: CloudTrail shows the user agent, which is not signed."""
    call = call_id()
    if call:
        request.headers["User-Agent"] += f" call/{call}".encode()


# botocore logs the bodies of requests and answers at level DEBUG, and these hold DEKs.
_LOGGERS = ("botocore", "urllib3")
_quiet = threading.local()


def _is_shown(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not getattr(_quiet, "asking", False)


def _silence() -> None:
    for name in [one for one in logging.root.manager.loggerDict if one.partition(".")[0] in _LOGGERS]:
        logging.getLogger(name).addFilter(_is_shown)
