"""Profiles: how makes of HSMs differ, as data, each fact with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.kinds import named

PREFERENCE = ("AES-KW", "AES-KWP", "AES-GCM", "RSA-OAEP-SHA256", "RSA-OAEP")


@dataclass(frozen=True, slots=True)
class Profile:
    """A make of HSM.

    Attributes:
        name: its name in ``Pkcs11KeyProvider(profile=...)``.
        module: the path where its PKCS#11 module is installed by default.
        mechanisms: by the name of an algorithm, the number of its mechanism where it is not the standard's.
        prefer: the algorithms that may wrap, best first.
        gcm_iv_by_token: whether the token makes the nonce of AES-GCM and refuses the caller's.
        unwrap_needs_value_len: whether an unwrap needs the length of the unwrapped key (``CKA_VALUE_LEN``).
        rsa_also_signs: whether the token makes RSA keys only if they may sign as well as decrypt.
        ends_before_fork: whether the module is finalized before each fork and started again after it, in the
            parent too: one that a child can only end together with its parent's connection.
        lost_by_fork: a library by which the module may reach the token, and whose connection hangs in a child
            of a process that has loaded it: a child's calls are refused then.
        fresh_for: seconds after which the module is restarted, where it sees only then which keys another
            process has made or removed.
        login: the form of the PIN where it is more than a PIN.
        quirks: what else is different.
        sources: the sources of these facts.
    """

    name: str
    module: str = ""
    mechanisms: Mapping[str, int] = field(default_factory=dict)
    prefer: tuple[str, ...] = PREFERENCE
    gcm_iv_by_token: bool = False
    unwrap_needs_value_len: bool = False
    rsa_also_signs: bool = False
    ends_before_fork: bool = False
    lost_by_fork: str = ""
    fresh_for: float = float("inf")
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

# This project's tests run softhsm (2.6.1), nss (3.87), opencryptoki (3.8.1) and tpm2 (tpm2-pkcs11 1.9.0).
# The others were never run: they are from documentation.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("generic"),
        Profile(
            "azure-cloud-hsm",
            module="/opt/azurecloudhsm/lib64/libazcloudhsm_pkcs11.so",
            # Without key wrap into objects: its keys cannot be readable. Its CKM_AES_KEY_WRAP_PAD is not
            # documented to be RFC 5649.
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
        Profile(
            "opencryptoki",
            module="/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so",
            # Its software token unwraps nothing into a readable object.
            prefer=("RSA-OAEP-SHA256", "RSA-OAEP"),
            quirks=(
                "run here, 3.8.1, the software token",
                "lists neither AES key wrap nor AES-GCM",
                "the daemon pkcsslotd runs on the same machine, and the application is in the group pkcs11",
                "a PIN has 4 to 8 characters; every token has the serial number 123",
            ),
            sources=("tried on openCryptoki 3.8.1",),
        ),
        Profile(
            "tpm2",
            module="/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
            prefer=("RSA-OAEP-SHA256", "RSA-OAEP"),
            rsa_also_signs=True,
            ends_before_fork=True,
            lost_by_fork="libtss2-tcti-tabrmd",
            fresh_for=60.0,
            quirks=(
                "run here, tpm2-pkcs11 1.9.0 over swtpm 0.7.1 and tpm2-abrmd 3.0.0",
                "RSA only: it makes no AES keys, and wraps by no mechanism",
                "makes RSA keys that may sign and decrypt, and answers GeneralError to any other template",
                "keeps loaded keys in the TPM, which has room for three: it needs a resource manager, the "
                "kernel's /dev/tpmrm0 or tpm2-abrmd",
                "reads its store when it starts: a key that another process removes is used until then, and "
                "CKA_DECRYPT is not obeyed",
                "tpm2-abrmd's connection does not survive a fork: a child would wait 25 seconds, and fail",
            ),
            sources=("tried on tpm2-pkcs11 1.9.0",),
        ),
    )
}


def find_profile(profile: Profile | str) -> Profile:
    """Return a profile, by its name if a name is given.

    Raises:
        ConfigurationError: no profile has this name.
    """
    if isinstance(profile, Profile):
        return profile
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ConfigurationError(
            f"there is no profile {named(profile)}: the profiles are {', '.join(PROFILES)}"
        )
    return PROFILES[profile]
