"""Columns' types as an application had them before, under names from which a migration imports them."""

import warnings

from sqlalchemy import String, TypeDecorator

with warnings.catch_warnings():
    # Names that SQLAlchemy 2.1 and sqlalchemy-utils itself call old.
    warnings.simplefilter("ignore")
    from advanced_alchemy.types import EncryptedString, EncryptedText
    from sqlalchemy_utils import EncryptedType, StringEncryptedType
    from sqlalchemy_utils.types.encrypted.encrypted_type import AesEngine, AesGcmEngine, FernetEngine

# What no file and no message may hold.
KEY = "KEY-OF-THE-OLD-LIBRARY"


def current_key() -> str:
    return f"{KEY}-from a function"


class Phone:
    """An object of a class of the application's own."""

    def __init__(self, number: str) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phone) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __str__(self) -> str:
        return self.number


class PhoneType(TypeDecorator[Phone]):
    impl, cache_ok = String, True

    def process_bind_param(self, value, dialect):  # type: ignore[no-untyped-def]
        return value and str(value)

    def process_result_value(self, value, dialect):  # type: ignore[no-untyped-def]
        return value and Phone(value)


OLD_AES = StringEncryptedType(String(255), f"{KEY}-aes", AesEngine, "pkcs5", length=255)
OLD_GCM = StringEncryptedType(String(255), f"{KEY}-gcm", AesGcmEngine, length=255)
OLD_FERNET = StringEncryptedType(String(255), f"{KEY}-fernet", FernetEngine, length=255)
OLD_PHONE = StringEncryptedType(PhoneType(255), f"{KEY}-phone", FernetEngine, length=255)
OLD_STRING = EncryptedString(key=f"{KEY}-string")
OLD_TEXT = EncryptedText(key=current_key)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    OLD_BYTES = EncryptedType(String(255), f"{KEY}-bytes", FernetEngine)

OLD_TYPES = {
    "aes": OLD_AES,
    "gcm": OLD_GCM,
    "fernet": OLD_FERNET,
    "string": OLD_STRING,
    "text": OLD_TEXT,
    "bytes": OLD_BYTES,
}
