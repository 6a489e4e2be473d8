"""Manifests: each tenant's keys authenticated as one record, under a record key. See :class:`Manifests`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.keys.manifest.document import difference, document_of
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys
from sqlalchemy_cmk.keys.records import TenantKeys

USE = "manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it is stored beside its tenant; without a record key all of it is ``None``.

    Attributes:
        document: the tenant's keys as canonical bytes.
        mac: their HMAC-SHA-256 under the record key.
        key_id: which record key made it.
    """

    document: bytes | None = None
    mac: bytes | None = None
    key_id: str | None = None


class Manifests:
    """Makes manifests and verifies what is read.

    Args:
        record_keys: the record keys; ``None`` if there are none, so that nothing is authenticated.
    """

    def __init__(self, record_keys: RecordKeys | None) -> None:
        self._record_keys = record_keys

    def make_all(self, tenants: Iterable[TenantKeys]) -> list[Manifest]:
        """Return the manifests of tenants' keys, under the record key of now."""
        if self._record_keys is None:
            return [Manifest() for _ in tenants]
        key = self._record_keys.current()
        documents = map(document_of, tenants)
        return [Manifest(document, key.mac(USE, document), key.id) for document in documents]

    def verify(self, keys: TenantKeys, manifest: Manifest) -> None:
        """Refuse keys that are not those which were written.

        Args:
            keys: what the tables hold.
            manifest: what is stored beside the tenant.

        Raises:
            TamperedError: they differ; or the manifest is missing, altered, or under an unknown record key.
            ConfigurationError: the keys are authenticated, and the keyring has no record key.
            KeyUnavailable: the record key cannot be read now.
        """
        document, mac, key_id = manifest.document, manifest.mac, manifest.key_id
        name = f"the keys of tenant {keys.tenant.name!r}"
        if self._record_keys is None:
            if manifest != Manifest():
                raise ConfigurationError(
                    f"{name} are authenticated, and this keyring has no record key: give it "
                    "Keyring(record_key=...)"
                )
            return
        if document is None or mac is None or key_id is None:
            raise TamperedError(
                f"{name} have no manifest: the table of tenants was altered; if this installation has just "
                "been given its first record key, check the keys and run cmk record-key adopt"
            )
        key = self._record_keys.find(key_id)
        if key is None:
            raise TamperedError(
                f"{name} are authenticated by a record key that {self._record_keys.origin} does not hold: "
                "the table of tenants was altered, or an old record key was dropped before cmk record-key "
                "rotate had finished"
            )
        if not key.verifies(USE, document, mac):
            raise TamperedError(f"{name}: the manifest was altered in the table of tenants")
        found = difference(document, keys)
        if found:
            raise TamperedError(f"{name} are not those that were written: {found}")
