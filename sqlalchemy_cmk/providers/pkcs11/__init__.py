"""KEKs in HSMs that are reached over PKCS#11; needs the extra ``[pkcs11]``."""

from sqlalchemy_cmk.providers.pkcs11.profiles import Profile
from sqlalchemy_cmk.providers.pkcs11.provider import Pkcs11KeyProvider

__all__ = ["Pkcs11KeyProvider", "Profile"]
