"""Which tenants a KEK may serve, as its owner has written in a tag of the key. See :class:`Owners`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

TENANT_TAG = "cmk-tenant"
EVERY_TENANT = "*"
_AS_IT_IS = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Owners:
    """The tenants that a KEK names.

    Attributes:
        words: the names as the tag has them; see :func:`tag_word`.
    """

    words: frozenset[str]

    @classmethod
    def read(cls, value: str) -> Owners:
        """Return the tenants in a tag's value: one name, or several with spaces between them."""
        return cls(frozenset(value.split(" ")) - {""})

    def include(self, tenant: str) -> bool:
        """Return whether the KEK may serve a tenant."""
        return not self.words.isdisjoint({EVERY_TENANT, tag_word(tenant)})


def tag_word(tenant: str) -> str:
    """Return how a tag names a tenant, so that no two tenants have the same word.

    A name of up to 64 ASCII letters, digits, dots, hyphens and underscores stands as it is. Of any other it
    is ``sha256:`` and the hexadecimal SHA-256 (FIPS 180-4) of its UTF-8 bytes: tags of Azure and AWS hold at
    most 256 characters, and not all of them.
    """
    if _AS_IT_IS.fullmatch(tenant):
        return tenant
    return f"sha256:{sha256(tenant.encode()).hexdigest()}"
