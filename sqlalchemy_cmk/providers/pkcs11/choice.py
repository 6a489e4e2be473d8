"""Which algorithm wraps with a KEK in a token, and which kind of KEK is made there. See :class:`Choice`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pkcs11 import KeyType

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier
from sqlalchemy_cmk.providers.pkcs11.keys import Kek, make_aes, make_rsa
from sqlalchemy_cmk.providers.pkcs11.mechanisms import algorithms_of, opens_again
from sqlalchemy_cmk.providers.pkcs11.profiles import Profile
from sqlalchemy_cmk.providers.uris import shown

logger = logging.getLogger("sqlalchemy_cmk.providers")

LEGACY = "RSA-OAEP"
ALLOW = "its owner sets CKA_WRAP and CKA_UNWRAP, or CKA_ENCRYPT and CKA_DECRYPT"


class Choice:
    """Chooses among a profile's algorithms by what a token lists, a key allows, and a probe shows.

    Args:
        profile: the make of the token.

    Attributes:
        algorithms: every algorithm, by its name.
    """

    def __init__(self, profile: Profile) -> None:
        self.algorithms = algorithms_of(profile)
        self._profile = profile
        self._chosen: dict[tuple[str, str], str] = {}

    def of(self, kek: Kek, kek_uri: str) -> str:
        """Return the first algorithm that the token lists, that the key may use, and that unwraps again.

        Raises:
            KeyRevoked: the key may not be used.
            ConfigurationError: the token unwraps with none.
        """
        known = self._chosen.get((kek_uri, kek.version))
        if known is not None and self.algorithms[known].may_use(kek):
            return known
        fit = [(name, self.algorithms[name]) for name in self._profile.prefer]
        fit = [(name, one) for name, one in fit if one.key_type is kek.type]
        if not any(one.may_use(kek) for _, one in fit):
            raise KeyRevoked(f"{kek_uri}: the key may not wrap and unwrap: {ALLOW}")
        listed = _listed(kek.key.session)
        for name, one in fit:
            if one.number in listed and one.may_use(kek) and opens_again(one, kek):
                if name == LEGACY:
                    logger.warning(
                        "%s: the token offers only RSA-OAEP with SHA-1; SHA-256 was tried first",
                        shown(kek_uri),
                    )
                self._chosen[kek_uri, kek.version] = name
                return name
        raise ConfigurationError(
            f"{kek_uri}: the token unwraps nothing with {', '.join(name for name, _ in fit)}: "
            "check its mechanisms and the key's permissions"
        )

    def make(
        self,
        session: Any,
        identifier: KekIdentifier,
        kek_uri: str,
        like: Kek | None = None,
        after: Sequence[Kek] = (),
    ) -> None:
        """Make a KEK, or a version of one, in the token.

        Args:
            session: a session that may write.
            identifier: the KEK.
            kek_uri: its URI.
            like: the version whose kind and size it has. Without it, it is an AES key where the token has an
                algorithm for one, else an RSA key.
            after: the existing versions: the new id sorts after all of them.

        Raises:
            ConfigurationError: the URI names one version, or the token lists no algorithm for such a key.
        """
        if identifier.id is not None or not identifier.label:
            raise ConfigurationError(f"{kek_uri} names one version: leave out id= to make a new one")
        listed = _listed(session)
        offered = [
            one for one in map(self.algorithms.get, self._profile.prefer) if one and one.number in listed
        ]
        for type_ in (KeyType.AES, KeyType.RSA) if like is None else (like.type,):
            best = next((one for one in offered if one.key_type is type_), None)
            if best is not None and type_ is KeyType.AES:
                return make_aes(session, identifier, like, after, only_wraps=best.only_wraps)
            if best is not None:
                return make_rsa(session, identifier, like, after, also_signs=self._profile.rsa_also_signs)
        raise ConfigurationError(f"{kek_uri}: the token lists no mechanism with which a new key could wrap")

    def forget(self) -> None:
        """Drop which algorithm was chosen for each KEK; it is tried again."""
        self._chosen.clear()


def _listed(session: Any) -> set[int]:
    return {int(one) for one in session.token.slot.get_mechanisms()}
