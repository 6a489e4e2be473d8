"""KEKs in HSMs with a PKCS#11 module; needs the extra ``[pkcs11]``."""

from sqlalchemy_cmk.providers.pkcs11.profiles import Profile
from sqlalchemy_cmk.providers.pkcs11.provider import Pkcs11KeyProvider

__all__ = ["Pkcs11KeyProvider", "Profile"]
