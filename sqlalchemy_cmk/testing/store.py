"""The keys of one vault, with versions and soft delete."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy_cmk.testing import errors
from sqlalchemy_cmk.testing.material import Material, default_ops
from sqlalchemy_cmk.testing.rotation import RotationPolicy

RETENTION_DAYS = 90
DAY = 86400
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


@dataclass
class KeyVersion:
    """One version of a key.

    Attributes:
        kid: its identifier, ``https://.../keys/NAME/VERSION``.
        name: the key's name.
        version: the version's id.
        enabled: whether it is enabled.
        not_before: from when on it may wrap, in seconds since 1970.
        expires: until when it may wrap.
        key_ops: what it may be used for.
        tags: the owner's notes.
    """

    kid: str
    name: str
    version: str
    material: Material = field(repr=False)
    key_ops: list[str]
    created: float
    updated: float
    enabled: bool = True
    not_before: float | None = None
    expires: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def kty(self) -> str:
        """The key type."""
        return self.material.kty

    def change(
        self,
        now: float,
        enabled: bool | None = None,
        not_before: float | None = None,
        expires: float | None = None,
        key_ops: Iterable[str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Change the attributes that are given."""
        self.enabled = self.enabled if enabled is None else enabled
        self.not_before = self.not_before if not_before is None else not_before
        self.expires = self.expires if expires is None else expires
        self.key_ops = self.key_ops if key_ops is None else list(key_ops)
        self.tags = self.tags if tags is None else dict(tags)
        self.updated = now


@dataclass
class Key:
    """A key: its versions, the oldest first."""

    name: str
    versions: dict[str, KeyVersion] = field(default_factory=dict)
    policy: RotationPolicy = field(default_factory=RotationPolicy)
    deleted: float = 0.0

    def newest(self) -> KeyVersion:
        """The newest version, enabled or not, which the key's name alone stands for."""
        return next(reversed(self.versions.values()))

    @property
    def purged_at(self) -> float:
        """When a deleted key is purged."""
        return self.deleted + RETENTION_DAYS * DAY


class KeyStore:
    """The keys of one vault; every method is atomic.

    Args:
        url: the vault's address, with which every key identifier begins.
        now: the emulator's clock.
        purge_protection: whether deleted keys stay for their whole retention.
    """

    def __init__(self, url: str, now: Callable[[], float], purge_protection: bool) -> None:
        self.url = url
        self.now = now
        self.purge_protection = purge_protection
        self._lock = threading.RLock()
        self._keys: dict[str, Key] = {}
        self._deleted: dict[str, Key] = {}

    def check_name(self, name: str) -> None:
        """Refuse an invalid name, and one that a deleted key holds."""
        if not _NAME.fullmatch(name):
            raise errors.bad_parameter(f"The request URI contains an invalid name: {name}")
        with self._lock:
            if self._find_deleted(name) is not None:
                raise errors.name_is_deleted(name)

    def add(self, name: str, material: Material, key_ops: Iterable[str] | None, **state: Any) -> KeyVersion:
        """Add a key, or a version to the key of that name."""
        version = secrets.token_hex(16)
        with self._lock:
            self.check_name(name)
            now = self.now()
            ops = default_ops(material.kty) if key_ops is None else list(key_ops)
            kid = f"{self.url}/keys/{name}/{version}"
            made = KeyVersion(kid, name, version, material, ops, now, now)
            made.change(now, **state)
            self._keys.setdefault(name, Key(name)).versions[version] = made
            return made

    def key(self, name: str) -> Key:
        """Return a key."""
        with self._lock:
            if name not in self._keys:
                raise errors.key_not_found(name)
            return self._keys[name]

    def get(self, name: str, version: str | None = None) -> KeyVersion:
        """Return a version, by default the newest."""
        with self._lock:
            key = self.key(name)
            if not version:
                return key.newest()
            if version not in key.versions:
                raise errors.key_not_found(f"{name}/{version}")
            return key.versions[version]

    def change(self, name: str, version: str | None, **changes: Any) -> KeyVersion:
        """Change a version, by default the newest."""
        with self._lock:
            found = self.get(name, version)
            found.change(self.now(), **changes)
            return found

    def names(self) -> list[Key]:
        """Return every key, by name."""
        with self._lock:
            return [self._keys[name] for name in sorted(self._keys)]

    def versions(self, name: str) -> list[KeyVersion]:
        """Return a key's versions ordered by id, as the service does; ids do not grow with time."""
        with self._lock:
            found = self.key(name).versions
            return [found[version] for version in sorted(found)]

    def delete(self, name: str) -> Key:
        """Delete a key with all its versions; it can be recovered."""
        with self._lock:
            key = self.key(name)
            key.deleted = self.now()
            self._deleted[name] = self._keys.pop(name)
            return key

    def deleted(self, name: str) -> Key:
        """Return a deleted key."""
        with self._lock:
            found = self._find_deleted(name)
            if found is None:
                raise errors.deleted_key_not_found(name)
            return found

    def deleted_names(self) -> list[Key]:
        """Return every deleted key, by name."""
        with self._lock:
            found = [self._find_deleted(name) for name in sorted(self._deleted)]
            return [key for key in found if key is not None]

    def recover(self, name: str) -> Key:
        """Undo a deletion."""
        with self._lock:
            self._keys[name] = self.deleted(name)
            return self._deleted.pop(name)

    def purge(self, name: str) -> None:
        """Purge a deleted key."""
        with self._lock:
            self.deleted(name)
            if self.purge_protection:
                message = (
                    'Operation "purge" is not allowed because purge protection is enabled for this vault.'
                )
                raise errors.forbidden(message, None)
            del self._deleted[name]

    def _find_deleted(self, name: str) -> Key | None:
        key = self._deleted.get(name)
        if key is not None and key.purged_at <= self.now():
            del self._deleted[name]
            return None
        return key
