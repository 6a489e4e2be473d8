"""Certificates: signed records of what was done with a tenant's keys. See :func:`recording`."""

from sqlalchemy_cmk.certificates.document import (
    Certificate,
    CertifiedDek,
    CertifiedFile,
    CertifiedKeys,
    CountedTable,
    CountedValues,
    Observed,
    WrappedBy,
)
from sqlalchemy_cmk.certificates.recording import Recording, recording
from sqlalchemy_cmk.certificates.signed import Signature, SignedCertificate, Verified, verify
from sqlalchemy_cmk.keys.certificate_key import make_certificate_key

__all__ = [
    "Certificate",
    "CertifiedDek",
    "CertifiedFile",
    "CertifiedKeys",
    "CountedTable",
    "CountedValues",
    "Observed",
    "Recording",
    "Signature",
    "SignedCertificate",
    "Verified",
    "WrappedBy",
    "make_certificate_key",
    "recording",
    "verify",
]
