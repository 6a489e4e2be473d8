"""Records what is done with a tenant's keys, and certifies it. See :func:`recording`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from uuid import uuid4

from sqlalchemy_cmk.certificates.document import FORMAT, Certificate, CertifiedFile, Observed
from sqlalchemy_cmk.certificates.observing import observe
from sqlalchemy_cmk.certificates.signed import SignedCertificate, signed
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.certificate_key import CertificateKey
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.runtime.because import current
from sqlalchemy_cmk.runtime.kinds import Kind, takes, text
from sqlalchemy_cmk.scope import key_owner


class Recording:
    """What is being recorded.

    Attributes:
        before: how the tenant stood before.
        result: what the certificate is to say of the outcome: texts and counts by name. No secrets.
        files: the files that rows were exported to.
    """

    def __init__(self, before: Observed) -> None:
        self.before = before
        self.result: dict[str, str | int] = {}
        self.files: tuple[CertifiedFile, ...] = ()
        self._issued: SignedCertificate | None = None

    @property
    def certificate(self) -> SignedCertificate:
        """The certificate, once the work is done.

        Raises:
            ConfigurationError: it is not done yet, or has failed.
        """
        if self._issued is None:
            raise ConfigurationError(
                "there is no certificate yet: read it after the with block, which ends without an error"
            )
        return self._issued

    def issue(self, certificate: SignedCertificate) -> None:
        """Note the certificate."""
        self._issued = certificate


@takes(
    keyring=KEYRING,
    operation=text("what is done, such as 'rotate'"),
    before=Kind((Observed,), "how the tenant stood, as it was observed").or_none,
)
@contextmanager
def recording(
    keyring: Keyring, tenant: object, operation: str, *, before: Observed | None = None
) -> Iterator[Recording]:
    """Record what a ``with`` block does with a tenant's keys and rows, and issue a certificate of it.

    The tenant's keys are verified, and its rows under each DEK counted, before the block and after it. Rows
    are counted by their first nine bytes, in every table of the models that the keyring protects; whole
    tables are read, and no key is opened. Where the block raises an error no certificate is issued.

    Args:
        keyring: has a ``certificate_key``, and protects every model with sealed columns.
        tenant: whose keys; ``""`` is the platform.
        operation: what is done, in a word or two.
        before: how the tenant stood where that was observed earlier: work that was stopped goes on.

    Raises:
        ConfigurationError: the keyring has no certificate key, or rows cannot be counted. The block is not
            run then.
        KeyUnavailable: the certificate key or the key tables cannot be read now.
        TamperedError: the tenant's keys or the trail's end are not what was written there.
    """
    key, name = certificate_key_of(keyring), key_owner(tenant)
    recorded = Recording(before or observe(keyring, name))
    yield recorded
    recorded.issue(_certificate(keyring, key, name, operation, recorded))


def certificate_key_of(keyring: Keyring) -> CertificateKey:
    """Return the key that signs certificates, after it was read once.

    Raises:
        ConfigurationError: the keyring has none, or it is no key.
        KeyUnavailable: it cannot be read now.
    """
    key = keyring.certificate_key
    if key is None:
        raise ConfigurationError(
            "certificates are signed, and this keyring has no key for that: run cmk certificate make-key "
            'FILE, and give Keyring(certificate_key="file:FILE")'
        )
    key.public()
    return key


def _certificate(
    keyring: Keyring, key: CertificateKey, tenant: str, operation: str, recorded: Recording
) -> SignedCertificate:
    after, why, audit = observe(keyring, tenant), current(), keyring.audit
    trail = [
        one for one in audit.entries(tenant, after=recorded.before.trail_seq) if one.seq <= after.trail_seq
    ]
    certificate = Certificate(
        format=FORMAT,
        id=str(uuid4()),
        operation=operation,
        tenant=tenant,
        actor=audit.actor(),
        reason="" if why is None else why.reason,
        made_with=f"sqlalchemy-cmk {version('sqlalchemy-cmk')}",
        before=recorded.before,
        after=after,
        trail=tuple(trail),
        result=recorded.result,
        files=recorded.files,
    )
    return signed(certificate, key)
