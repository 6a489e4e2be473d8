"""Translates what KMS and botocore say into errors: revoked, unavailable, credential, tampered and so on.

Only codes that KMS documents are its verdict; anything else is an outage. Messages hold codes only: the
service's own texts name principals.
"""

from __future__ import annotations

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.providers._retries import Throttled

REVOKED = {
    "AccessDeniedException": "the application may not use the key: its owner grants kms:Encrypt, kms:Decrypt "
    "and kms:DescribeKey in the key's policy",
    "DisabledException": "the key is disabled: its owner enables it again",
    "KMSInvalidStateException": "the key cannot be used, such as while it is pending deletion: its owner can "
    "cancel the deletion",
}
TAMPERED = {
    "IncorrectKeyException": "a wrapped DEK was not wrapped by this key",
    "InvalidCiphertextException": "a wrapped DEK is damaged, or was wrapped for another tenant",
}
CONFIGURATION = {
    "InvalidArnException": "KMS does not accept the ARN: check it",
    "InvalidKeyUsageException": "the key cannot serve as a KEK: it has to be symmetric, for encryption",
    "UnsupportedOperationException": "the key cannot serve as a KEK: it has to be symmetric, for encryption",
    "ValidationException": "KMS does not accept the request: check the ARN",
}
CREDENTIAL = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class NoSuchKey(KeyRevoked):
    """KMS has no such key or alias: it is gone, or there never was one."""


class NotPermitted(KeyRevoked):
    """The key's policy does not let the application do what it has asked for."""


_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError)
_CODE = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)


def meaning(error: Exception, operation: str, kek_uri: str) -> CmkError:
    """Return the error that a failed request stands for.

    Args:
        error: what botocore raised.
        operation: the operation of KMS that was asked for.
        kek_uri: the KEK.
    """
    if isinstance(error, _NO_CREDENTIALS):
        return CredentialError(
            f"{kek_uri}: the application has no credentials for AWS ({type(error).__name__}): give it a "
            "role, or AwsKmsProvider(session=...)"
        )
    if not isinstance(error, ClientError):
        kind = type(error).__name__
        reached = "KMS cannot be reached" if isinstance(error, BotoCoreError) else "KMS cannot be asked"
        return KeyUnavailable(f"{kek_uri}: {reached} ({kind})")
    code = code_of(error)
    what = f"{kek_uri}: {operation} was answered {code}".rstrip()
    if code == "NotFoundException":
        return NoSuchKey(f"{what}: the key or the alias is gone")
    if code in REVOKED:
        told = f"{what}: {REVOKED[code]}"
        return NotPermitted(told) if code == "AccessDeniedException" else KeyRevoked(told)
    if code in TAMPERED and operation == "Decrypt":
        return TamperedError(f"{what}: {TAMPERED[code]}")
    if code in CONFIGURATION:
        return ConfigurationError(f"{what}: {CONFIGURATION[code]}")
    if code in CREDENTIAL:
        return CredentialError(f"{what}: the application's own credentials are not accepted; renew them")
    return Throttled(f"{what}: KMS cannot serve now")


def code_of(error: ClientError) -> str:
    """Return the error's code; empty if it is none that a message may hold."""
    code = error.response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
