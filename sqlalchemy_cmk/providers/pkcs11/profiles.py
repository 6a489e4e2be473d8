"""What differs between makes of HSMs, as data: each fact with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy_cmk.errors import ConfigurationError

PREFERENCE = ("AES-KW", "AES-KWP", "AES-GCM", "RSA-OAEP-SHA256", "RSA-OAEP")


@dataclass(frozen=True, slots=True)
class Profile:
    """One make of HSM.

    Attributes:
        name: what it is called in ``Pkcs11KeyProvider(profile=...)``.
        module: where its PKCS#11 module is installed by default.
        mechanisms: numbers of mechanisms that are not the standard's, by the name of our algorithm.
        prefer: the algorithms that may wrap, the best first.
        gcm_iv_by_token: whether the token makes the nonce of AES-GCM and refuses the caller's.
        unwrap_needs_value_len: whether an unwrap has to be told the length of the key that comes out.
        login: how the PIN is written where it is more than a PIN.
        quirks: what else to know.
        sources: where these facts are from.
    """

    name: str
    module: str = ""
    mechanisms: Mapping[str, int] = field(default_factory=dict)
    prefer: tuple[str, ...] = PREFERENCE
    gcm_iv_by_token: bool = False
    unwrap_needs_value_len: bool = False
    login: str = ""
    quirks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("generic"),
        Profile(
            "softhsm",
            module="/usr/lib/softhsm/libsofthsm2.so",
            # Its CKM_AES_KEY_WRAP_PAD is RFC 5649, for which the standard has CKM_AES_KEY_WRAP_KWP.
            mechanisms={"AES-KWP": 0x210A},
            sources=("https://github.com/softhsm/SoftHSMv2/issues/726", "tried on SoftHSM 2.6.1"),
        ),
    )
}


def find_profile(profile: Profile | str) -> Profile:
    """Return the profile of a name, or the profile given.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ConfigurationError(f"there is no profile {profile!r}: the profiles are {', '.join(PROFILES)}")
    return PROFILES[profile]
