"""A tenant leaves: its rows are exported, its keys destroyed, and both certified. See :func:`offboard`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy_cmk.certificates.document import CertifiedFile
from sqlalchemy_cmk.certificates.observing import observe
from sqlalchemy_cmk.certificates.recording import certificate_key_of, recording
from sqlalchemy_cmk.certificates.signed import SignedCertificate
from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.keys.lifecycle.unknown import unknown_tenant
from sqlalchemy_cmk.keys.model import Purpose, TenantState
from sqlalchemy_cmk.offboarding.exporting import Export
from sqlalchemy_cmk.offboarding.folder import SEALED, Folder, Progress
from sqlalchemy_cmk.offboarding.rows import tenants_tables
from sqlalchemy_cmk.offboarding.sealing import PATH, recipient
from sqlalchemy_cmk.runtime.kinds import Kind, takes, text
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

OPERATION = "offboard"


@dataclass(frozen=True, slots=True)
class Offboarded:
    """A tenant that has left.

    Attributes:
        files: the exported files.
        certificate: the certificate, which the folder holds too.
    """

    files: tuple[CertifiedFile, ...]
    certificate: SignedCertificate


@takes(
    keyring=KEYRING,
    folder=PATH,
    confirm=text("the tenant's name, repeated"),
    sealed_for=Kind((bytes, bytearray), "an RSA public key in PEM, as bytes").or_none,
    export=Kind((bool,), "True or False", never=()),
)
def offboard(
    keyring: Keyring,
    tenant: object,
    folder: str | Path,
    *,
    confirm: str,
    sealed_for: bytes | None = None,
    export: bool = True,
) -> Offboarded:
    """Export a tenant's rows, destroy its keys, and certify both. The destruction cannot be undone.

    Every table of the protected models that says whose its rows are is written to a file of JSON lines, as of
    one moment. Once the files are on disk, were read back, and the rows were found unchanged, the tenant is
    shredded. Its rows stay where they are, and can never be opened again. Where this is stopped, call it
    again with the same folder: it goes on, or begins the export anew.

    Args:
        keyring: has a ``certificate_key``, and protects every model with tenants' rows.
        tenant: the tenant's name.
        folder: the folder to make for the files and the certificate.
        confirm: the tenant's name, repeated.
        sealed_for: the RSA public key in PEM whose holder alone can open the files; ``None`` for files in the
            clear, which their owner alone can read.
        export: whether rows are exported. Without an export they are lost.

    Raises:
        ConfigurationError: ``confirm`` is another name, the tenant is unknown or the platform, the keyring
            has no certificate key, or the folder is there; also where rows changed since they were exported:
            stop the application's writing for the tenant. Nothing is destroyed then.
        ApprovalRequired: a second person has to approve it first. Nothing is exported then.
        KeyRevoked: the tenant's KEK refuses, so that nothing can be exported; likewise
            :class:`KeyUnavailable`. Nothing is destroyed then.
    """
    name = key_owner(tenant)
    if name == PLATFORM_TENANT:
        raise ConfigurationError("the platform does not leave: its rows belong to every tenant")
    if confirm != name:
        raise ConfigurationError("nothing was done: give confirm= the tenant's name, exactly as in tenant=")
    certificate_key_of(keyring)
    place = Folder(Path(folder), name)
    if place.certificate.exists():
        raise ConfigurationError(f"{name!r} was offboarded already: {place.certificate} says so")
    key = None if sealed_for is None else recipient(sealed_for)
    tables, others = tenants_tables(keyring)
    keyring.lifecycle.ask_to_shred(name)
    done = _progress(keyring, name, place, export=export)
    if done.files is None and export:
        _require_open(keyring, name)
        with place.kept_when_whole():
            files = _exported(Export(keyring, name, tables, key), name, place)
        place.note(Progress(name, done.before, files))
    else:
        files = done.files or ()
        place.check(files)
    with recording(keyring, name, OPERATION, before=done.before) as recorded:
        keyring.lifecycle.shred(name, confirm=confirm)
        recorded.files = files
        recorded.result |= {"exported": sum(one.rows for one in files), "export": _kind(files)}
        if others:
            recorded.result["tables of no tenant"] = ", ".join(others)
    recorded.certificate.write(place.certificate)
    return Offboarded(files, recorded.certificate)


def _exported(export: Export, tenant: str, place: Folder) -> tuple[CertifiedFile, ...]:
    """Return the files of an export that was read back, and whose rows were found unchanged."""
    exported = export.write(place)
    place.check(exported.files)
    if export.digest() != exported.digest:
        raise ConfigurationError(
            f"rows of {tenant!r} changed while they were exported, and nothing was destroyed: stop the "
            "application's writing for this tenant, and run the same again"
        )
    return exported.files


def _progress(keyring: Keyring, tenant: str, place: Folder, *, export: bool) -> Progress:
    """Return how far it has come. Before the keys are destroyed an export that was stopped begins anew."""
    keys = keyring.store.keys_of(tenant)
    if keys is None:
        raise unknown_tenant(keyring.store, tenant)
    found = place.progress()
    if keys.tenant.state is TenantState.SHREDDED:
        if export and (found is None or found.files is None):
            raise KeyRevoked(
                f"tenant {tenant!r} was shredded before its rows were exported: they are lost; export=False "
                "or --without-export certifies that",
                tenant,
            )
        if found is not None:
            return found
    before = observe(keyring, tenant)
    place.begin(before)
    return Progress(tenant, before)


def _require_open(keyring: Keyring, tenant: str) -> None:
    problem = ""
    try:
        for purpose in Purpose:
            keyring.existing(tenant, purpose)
    except KeyRevoked as error:
        problem = str(error)
    if problem:
        raise KeyRevoked(
            f"nothing can be exported ({problem}), and nothing was destroyed: have the KEK's owner give "
            "access back, or give up the rows with export=False or --without-export",
            tenant,
        )


def _kind(files: tuple[CertifiedFile, ...]) -> str:
    if not files:
        return "none"
    sealed = all(one.name.endswith(SEALED) for one in files)
    return "sealed for the key that was named" if sealed else "in the clear"
