"""Key ARNs: ``arn:aws:kms:REGION:ACCOUNT:key/ID`` and ``arn:aws:kms:REGION:ACCOUNT:alias/NAME``.

One grammar, for the whole text and ASCII only. A request names an ARN that is made of the parsed parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# "mrk-" begins the ids of multi-Region keys.
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}"
_VERSION = re.compile(_ID, re.ASCII)
_ARN = re.compile(
    r"arn:(aws(?:-[a-z]{1,8}){0,3}):kms:([a-z]{2,4}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2}):([0-9]{12})"
    rf":(?:key/({_ID})|alias/([0-9A-Za-z/_-]{{1,200}}))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class KeyArn:
    """A key of KMS, or an alias of one.

    Attributes:
        partition: ``aws``, ``aws-cn``, ``aws-us-gov`` and so on.
        region: the region.
        account: the owner's account, 12 digits.
        key: the key's id; ``None`` for an alias.
        alias: the alias' name without ``alias/``; ``None`` for a key.
    """

    partition: str
    region: str
    account: str
    key: str | None
    alias: str | None

    def __str__(self) -> str:
        name = f"key/{self.key}" if self.key is not None else f"alias/{self.alias}"
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:{name}"

    def of_key(self, key: str) -> KeyArn:
        """Return the ARN of a key beside it: an alias leads to keys of its own account and region only."""
        return KeyArn(self.partition, self.region, self.account, key, None)

    @property
    def place(self) -> str:
        """What its requests may hang on."""
        return f"AWS KMS in {self.region}"


def parse_arn(kek_uri: str) -> KeyArn | None:
    """Return the parts of a key's or an alias' ARN, or ``None`` if the text is none."""
    found = _ARN.fullmatch(kek_uri)
    return None if found is None else KeyArn(*found.groups())


def is_key_id(text: str) -> bool:
    """Return whether a text is the id of a key."""
    return _VERSION.fullmatch(text) is not None
