"""Webhooks: where key events are posted to, and whose they are. See :class:`Webhook`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.events.key_event import KeyEventKind, kinds_named
from sqlalchemy_cmk.keys.events.signatures import signing_keys
from sqlalchemy_cmk.runtime.secret import Secret

LONGEST_NAME = 64
# Visible ASCII: nothing in it can end a line of the request.
_ADDRESS = re.compile(r"[!-~]{1,2000}", re.ASCII)
_NAME = re.compile(rf"[!-~]{{1,{LONGEST_NAME}}}", re.ASCII)


@dataclass(frozen=True)
class Webhook:
    """An address to which key events are posted as CloudEvents, signed as Standard Webhooks says.

    Args:
        name: names it among a tenant's webhooks, at most 64 characters. What waits for it is stored under
            this name: another name is another webhook.
        url: where to: ``https://``. Nothing else is asked for it, and no redirect is followed.
        secret: what signs: ``whsec_`` and 24 to 64 random bytes in base64. Several while the receiver changes
            it: each signs.
        kinds: the kinds of events; of none, every kind.
        source: the CloudEvents' ``source``: a URI that names your application.
        local: whether ``url`` may be ``http://`` to this machine itself, for development. Never set it where
            a customer chooses the address.

    Raises:
        ConfigurationError: one of them is wrong.
    """

    name: str
    url: str = field(repr=False)
    secret: InitVar[str | Sequence[str]]
    kinds: Iterable[str] = ()
    source: str = "urn:sqlalchemy_cmk"
    local: bool = False
    keys: tuple[Secret, ...] = field(init=False, repr=False, compare=False)
    wanted: frozenset[KeyEventKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self, secret: str | Sequence[str]) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"a webhook's name is 1 to {LONGEST_NAME} visible ASCII characters, without spaces"
            )
        if not _is_address(self.url, local=self.local):
            # It is not quoted: addresses may hold tokens.
            raise ConfigurationError(
                f"the address of the webhook {self.name!r} has to be https://HOST/PATH, without a user name; "
                "http:// is for this machine alone, with local=True"
            )
        if not isinstance(self.source, str) or not _ADDRESS.fullmatch(self.source):
            raise ConfigurationError(f"the source of the webhook {self.name!r} is no URI")
        kinds = (self.kinds,) if isinstance(self.kinds, str) else tuple(self.kinds)
        object.__setattr__(self, "wanted", kinds_named(kinds))
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "keys", signing_keys(secret))


WebhookSource = Sequence[Webhook] | Callable[[str], Iterable[Webhook]]


class Webhooks:
    """The webhooks of every tenant, as the application says.

    Args:
        source: webhooks that receive every tenant's events, or a function that returns a tenant's own,
            given its name.

    Raises:
        ConfigurationError: it is neither, or two of them have one name.
    """

    def __init__(self, source: WebhookSource) -> None:
        self._call = source if callable(source) else None
        self._fixed = {} if callable(source) else _by_name(source)

    @property
    def any(self) -> bool:
        """Whether there may be a webhook."""
        return self._call is not None or bool(self._fixed)

    def of(self, tenant: str) -> dict[str, Webhook]:
        """Return a tenant's webhooks by their names; the application is asked.

        Raises:
            ConfigurationError: it has returned something else. A function may raise anything.
        """
        return self._fixed if self._call is None else _by_name(self._call(tenant))


def _by_name(webhooks: object) -> dict[str, Webhook]:
    given = list(webhooks) if isinstance(webhooks, Iterable) and not isinstance(webhooks, str) else [webhooks]
    found = {one.name: one for one in given if isinstance(one, Webhook)}
    if len(found) != len(given):
        raise ConfigurationError(
            "webhooks is a list of Webhook(...) with different names, or a function that returns a tenant's"
        )
    return found


def _is_address(url: object, *, local: bool) -> bool:
    if not isinstance(url, str) or not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and local and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
