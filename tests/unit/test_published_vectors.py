"""The primitives, taken from the modules that use them, give the answers that their standards publish."""

from dataclasses import dataclass

import pytest

from sqlalchemy_cmk import ciphers, format
from sqlalchemy_cmk.providers import local


@dataclass(frozen=True)
class GcmVector:
    source: str
    key: str
    nonce: str
    plaintext: str
    associated: str
    ciphertext: str
    tag: str


MCGREW_VIEGA_PLAINTEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
MCGREW_VIEGA_CIPHERTEXT = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
GCM = [
    GcmVector(
        "McGrew and Viega, The Galois/Counter Mode of Operation, test case 13",
        "00" * 32,
        "00" * 12,
        "",
        "",
        "",
        "530f8afbc74536b9a963b4f1c4cb738b",
    ),
    GcmVector(
        "McGrew and Viega, test case 14",
        "00" * 32,
        "00" * 12,
        "00" * 16,
        "",
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    GcmVector(
        "McGrew and Viega, test case 15",
        "feffe9928665731c6d6a8f9467308308" * 2,
        "cafebabefacedbaddecaf888",
        MCGREW_VIEGA_PLAINTEXT,
        "",
        MCGREW_VIEGA_CIPHERTEXT,
        "b094dac5d93471bdec1a502270e3cc6c",
    ),
    GcmVector(
        "McGrew and Viega, test case 16",
        "feffe9928665731c6d6a8f9467308308" * 2,
        "cafebabefacedbaddecaf888",
        MCGREW_VIEGA_PLAINTEXT[:120],
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        MCGREW_VIEGA_CIPHERTEXT[:120],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
    GcmVector(
        "NIST CAVP, gcmEncryptExtIV256.rsp, PTlen = 0, AADlen = 0, Count = 0",
        "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
        "516c33929df5a3284ff463d7",
        "",
        "",
        "",
        "bdc1ac884d332457a1d2664f168c76f0",
    ),
    GcmVector(
        "NIST CAVP, gcmEncryptExtIV256.rsp, PTlen = 128, AADlen = 0, Count = 0",
        "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
        "0d18e06c7c725ac9e362e1ce",
        "2db5168e932556f8089a0622981d017d",
        "",
        "fa4362189661d163fcd6a56d8bf0405a",
        "d636ac1bbedd5cc3ee727dc2ab4a9489",
    ),
]


@pytest.mark.parametrize("vector", GCM, ids=lambda vector: vector.source)
def test_aes_256_gcm_gives_the_published_answers(vector: GcmVector) -> None:
    cipher = ciphers.AESGCM(bytes.fromhex(vector.key))
    nonce, associated = bytes.fromhex(vector.nonce), bytes.fromhex(vector.associated)
    plaintext = bytes.fromhex(vector.plaintext)
    sealed = cipher.encrypt(nonce, plaintext, associated)
    assert sealed.hex() == vector.ciphertext + vector.tag
    assert cipher.decrypt(nonce, sealed, associated) == plaintext


@dataclass(frozen=True)
class SivVector:
    source: str
    key: str
    associated: tuple[str, ...]
    plaintext: str
    output: str


SIV = [
    SivVector(
        "RFC 5297, appendix A.1",
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ("101112131415161718191a1b1c1d1e1f2021222324252627",),
        "112233445566778899aabbccddee",
        "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
    ),
    SivVector(
        "RFC 5297, appendix A.2, with two strings of associated data and a nonce",
        "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
        (
            "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ),
        "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
        "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
    ),
    # The RFC has no example with the 64 bytes of key that suite 0x02 takes.
    SivVector(
        "Project Wycheproof, aes_siv_cmac_test.json, tcId 297, a key of 512 bits, no plaintext",
        "aff6388fdd2908e0c3b610e3dcd410c8146a268d6befd5c45ffdd23508b5b311"
        "cc3a9d8f838f456436b289018682151dd57d8d65d1a823c06eca8ab8ee01da01",
        ("d0bb2949a411e22d32964526",),
        "",
        "e288d802a0e56ed7544a2e5775459389",
    ),
    SivVector(
        "Project Wycheproof, aes_siv_cmac_test.json, tcId 303, a key of 512 bits",
        "27faf97fb303aa4f2f364edd23997f4c77b8e51ebb8293c59dfb1d24f0fb629f"
        "6c820fc2d91bf48f0035eeec347e37ec4fb0cb36102bcdc5a248c47a2f97eab9",
        ("cc94f64e14df90265f7f12a8a0386d0a",),
        "6b1db0f5a43376885002dc98bd556f1dac9b66b66213a9fa6069df995a123384",
        "d0016d675b49f11ea873707412d45709b7703a028a0cfc312cf61cbe22b91e3cf20b7d4c9308ee15f18b4eba00889284",
    ),
]


@pytest.mark.parametrize("vector", SIV, ids=lambda vector: vector.source)
def test_aes_siv_gives_the_published_answers(vector: SivVector) -> None:
    cipher = ciphers.AESSIV(bytes.fromhex(vector.key))
    associated = [bytes.fromhex(one) for one in vector.associated]
    plaintext = bytes.fromhex(vector.plaintext)
    sealed = cipher.encrypt(plaintext, associated)
    assert sealed.hex() == vector.output
    assert cipher.decrypt(sealed, associated) == plaintext


@dataclass(frozen=True)
class HkdfVector:
    source: str
    secret: bytes
    salt: bytes | None
    info: bytes
    output: str


HKDF = [
    HkdfVector(
        "RFC 5869, appendix A.1",
        b"\x0b" * 22,
        bytes(range(0x00, 0x0D)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    HkdfVector(
        "RFC 5869, appendix A.2",
        bytes(range(0x00, 0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    HkdfVector(
        "RFC 5869, appendix A.3, an empty salt",
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
    HkdfVector(
        "RFC 5869, appendix A.3, no salt, as column keys are derived",
        b"\x0b" * 22,
        None,
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize("vector", HKDF, ids=lambda vector: vector.source)
def test_hkdf_sha256_gives_the_published_answers(vector: HkdfVector) -> None:
    length = len(vector.output) // 2
    derived = format.HKDF(format.SHA256(), length, salt=vector.salt, info=vector.info).derive(vector.secret)
    assert derived.hex() == vector.output


def test_aes_key_wrap_gives_the_published_answer() -> None:
    """RFC 3394, section 4.6: 256 bits of key data with a 256-bit KEK."""
    kek = bytes(range(32))
    data = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
    wrapped = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    assert local.aes_key_wrap(kek, data).hex() == wrapped
    assert local.aes_key_unwrap(kek, bytes.fromhex(wrapped)) == data
