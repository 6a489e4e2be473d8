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


_GUIDE = (
    "https://github.com/microsoft/MicrosoftAzureCloudHSM: IntegrationGuides/"
    "Azure Cloud HSM PKCS11 Integration Guide.pdf"
)
_LUNA = "https://thalesdocs.com/gphsm/luna/7/docs/network/Content/sdk/mechanisms/"
_LUNA_SAMPLES = "https://github.com/ThalesGroup/luna-samples: Node-PKCS11_Samples/lib/helper.js"
_AZURE = "https://learn.microsoft.com/azure/security/fundamentals/key-management"

# Run in this project's tests: softhsm (2.6.1), nss (3.87). Never run, from documentation alone: the others.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("generic"),
        Profile(
            "azure-cloud-hsm",
            module="/opt/azurecloudhsm/lib64/libazcloudhsm_pkcs11.so",
            # Without key wrap into objects: no key there can be made that may be read. Its
            # CKM_AES_KEY_WRAP_PAD is not said to be RFC 5649.
            prefer=("AES-GCM", "RSA-OAEP-SHA256", "RSA-OAEP"),
            gcm_iv_by_token=True,
            login="USER:PASSWORD of a crypto user",
            quirks=(
                "never run here",
                "every key is CKA_SENSITIVE: a DEK that is unwrapped into an object cannot be read",
                "CKM_AES_KEY_WRAP is listed for C_Encrypt and C_Decrypt as well as for wrapping",
                "keys are CKA_EXTRACTABLE unless made otherwise: make the KEK with CKA_EXTRACTABLE false",
                "the daemon azcloudhsm_client runs on the same machine: without it C_Initialize answers 5",
                "looking for a key asks every HSM of the cluster: keep the handle",
                "that the token makes the nonce is documented for AWS CloudHSM, of the same make (Marvell "
                "LiquidSecurity), and not for Azure's",
            ),
            sources=(
                _GUIDE,
                "https://learn.microsoft.com/azure/cloud-hsm/authentication",
                "https://learn.microsoft.com/azure/cloud-hsm/key-management",
                "https://learn.microsoft.com/azure/cloud-hsm/supported-algorithms",
                "https://docs.aws.amazon.com/cloudhsm/latest/userguide/pkcs11-mechanisms.html",
            ),
        ),
        Profile(
            "luna7",
            module="/usr/safenet/lunaclient/lib/libCryptoki2_64.so",
            mechanisms={"AES-KW": 0x80000170, "AES-KWP": 0x80000171},
            unwrap_needs_value_len=True,
            login="password of the partition's crypto officer, or of its crypto user",
            quirks=(
                "never run here; Azure Dedicated HSM is a Luna 7 A790",
                "CKM_AES_KW and CKM_AES_KWP have Thales' own numbers",
                "before firmware 7.9.3 an unwrap with CKM_AES_KW takes CKA_VALUE_LEN",
                "in FIPS mode CKM_AES_GCM makes its own nonce of 16 bytes and appends it to the ciphertext",
                "CKM_AES_KW wraps secret keys only",
            ),
            sources=(
                f"{_LUNA}CKM_AES_KW.htm",
                f"{_LUNA}CKM_AES_GCM.htm",
                "https://thalesdocs.com/gphsm/luna/7/docs/usb/Content/sdk/mechanisms/CKM_RSA_PKCS_OAEP.htm",
                _LUNA_SAMPLES,
                "https://learn.microsoft.com/azure/dedicated-hsm/overview",
            ),
        ),
        Profile(
            "payshield",
            quirks=(
                "never run here",
                "a payShield 10K is spoken to with Thales' host commands over TCP, not over PKCS#11",
                "Microsoft's overview listed PKCS#11 for Payment HSM in earlier editions; that of "
                "January 2026 lists Thales' payShield interfaces",
                "no page was found that names a PKCS#11 module for it: give module=",
            ),
            sources=(
                "https://learn.microsoft.com/azure/payment-hsm/overview",
                _AZURE,
                "https://www.manualslib.com/manual/2504040/Thales-Payshield-10k.html",
            ),
        ),
        Profile(
            "softhsm",
            module="/usr/lib/softhsm/libsofthsm2.so",
            # Its CKM_AES_KEY_WRAP_PAD is RFC 5649, for which the standard has CKM_AES_KEY_WRAP_KWP.
            mechanisms={"AES-KWP": 0x210A},
            quirks=(
                "run here, 2.6.1",
                "fills what it wraps with zeros to a multiple of 8 bytes: RFC 5649 for DEKs, and not for "
                "private keys",
                "CKM_RSA_PKCS_OAEP takes SHA-1 only",
                "CKM_AES_KEY_WRAP wraps and unwraps, and neither encrypts nor decrypts",
            ),
            sources=(
                "https://github.com/softhsm/SoftHSMv2/issues/726",
                "https://github.com/softhsm/SoftHSMv2/pull/307",
                "tried on SoftHSM 2.6.1",
            ),
        ),
        Profile(
            "nss",
            module="/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
            quirks=(
                "run here, 3.87",
                "softokn answers ArgumentsBad to C_Initialize(NULL): p11-kit's proxy starts it, with "
                "x-init-reserved in its module file",
                "CKM_AES_KEY_WRAP_KWP asks for too small a buffer, which python-pkcs11 takes for an error; "
                "CKM_AES_KEY_WRAP_PAD is not RFC 5649",
            ),
            sources=("tried on libnss3 3.87.1 with p11-kit 0.24.1",),
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
