"""KEKs in tokens: which version is the newest, how they are made, and with which algorithm they wrap."""

import ctypes
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from pkcs11 import Attribute, Mechanism, ObjectClass

from sqlalchemy_cmk import ConfigurationError, KeyRevoked, TamperedError
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from sqlalchemy_cmk.providers.pkcs11 import Profile
from sqlalchemy_cmk.providers.pkcs11.mechanisms import mechanism_of
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.profiles import PROFILES
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing.provider_contract import damaged
from tests.providers.token_places import TokenPlace
from tests.support.hsm.boundary import instead_of

DEK = Secret(bytes(range(32)))
ALGORITHMS = {
    "softhsm": ["AES-KW", "AES-KWP", "AES-GCM", "RSA-OAEP"],
    # It asks for a longer buffer at the second call than at the first, which python-pkcs11 gives up on.
    "nss": ["AES-KW", "RSA-OAEP-SHA256", "RSA-OAEP"],
}


def make(place: TokenPlace, what: str, *more: str) -> str:
    """A KEK that the token's owner made by another tool."""
    name = f"made-{os.urandom(6).hex()}"
    place.hsm.owner(place.label, what, name, *more)
    return place.hsm.uri(place.label, name)


def facts(place: TokenPlace, uri: str) -> list[dict[Attribute, object]]:
    """What the token says of the protection of every key of a name."""
    wanted = (Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.WRAP, Attribute.ENCRYPT, Attribute.SIGN)
    name = uri.rpartition("object=")[2]
    with module_at(place.hsm.module).exclusive() as library:
        label = place.label if place.hsm.profile == "softhsm" else "NSS Certificate DB"
        session = next(token for token in library.get_tokens() if token.label == label).open()
        template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: name}
        found = [key.get_attributes(wanted) for key in list(session.get_objects(template))]
        session.close()
    return found


def test_a_key_that_is_made_is_sensitive_not_extractable_and_only_wraps(place: TokenPlace) -> None:
    place.rotate()
    place.provider.newest_version(place.kek_uri)
    found = facts(place, place.kek_uri)
    assert len(found) == 2
    for one in found:
        assert one[Attribute.SENSITIVE] and not one[Attribute.EXTRACTABLE]
        assert one[Attribute.WRAP] and not one[Attribute.ENCRYPT] and not one[Attribute.SIGN]


def test_a_provider_makes_no_key_unless_it_is_told_to(place: TokenPlace) -> None:
    uri = place.hsm.uri(place.label, f"none-{os.urandom(6).hex()}")
    plain = place.new_provider()
    with pytest.raises(ConfigurationError, match="there is no such key in the token: check its label"):
        plain.ensure(uri)
    with pytest.raises(KeyRevoked, match="no such key"):
        plain.wrap(uri, DEK)
    with pytest.raises(KeyRevoked):
        plain.rotate(uri)
    with pytest.raises(ConfigurationError, match="object="):
        place.provider.ensure(f"{uri};id=%01")


def test_versions_that_are_made_follow_each_other_whatever_the_clock_says(
    place: TokenPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlalchemy_cmk.providers.pkcs11.keys.time.time", lambda: 1.0)
    seen = [place.provider.newest_version(place.kek_uri)]
    for _ in range(4):
        place.rotate()
        seen.append(place.provider.newest_version(place.kek_uri))
    assert seen == sorted(seen) and len(set(seen)) == 5


def test_of_other_tools_ids_the_highest_number_is_the_newest(place: TokenPlace) -> None:
    uri = make(place, "make-aes", "02")
    name = uri.rpartition("object=")[2]
    first = place.provider.wrap(uri, DEK)
    assert first.kek_version == "02"
    place.hsm.owner(place.label, "make-aes", name, "01")
    assert place.provider.newest_version(uri) == "02"
    place.hsm.owner(place.label, "make-aes", name, "0100")
    assert place.provider.wrap(uri, DEK).kek_version == "0100"
    place.provider.rotate(uri)
    newest = place.provider.newest_version(uri)
    assert bytes.fromhex(newest).startswith(b"cmk1")
    place.hsm.owner(place.label, "make-aes", name, "ff" * 20)
    assert place.provider.newest_version(uri) == newest
    assert place.provider.unwrap(first) == DEK
    levels = {one.level: one.what for one in place.provider.health_checks(uri)}
    assert "other tools" in levels[Level.WARNING]


def test_an_id_in_the_uri_names_one_version(place: TokenPlace) -> None:
    uri = make(place, "make-aes", "0a")
    place.hsm.owner(place.label, "make-aes", uri.rpartition("object=")[2], "0b")
    pinned = f"{uri};id=%0a"
    wrapped = place.provider.wrap(pinned, DEK)
    assert wrapped.kek_version == "0a" and place.provider.newest_version(pinned) == "0a"
    assert place.provider.unwrap(wrapped) == DEK == place.provider.unwrap(replace(wrapped, kek_uri=uri))
    with pytest.raises(TamperedError, match="none of this KEK's"):
        place.provider.unwrap(replace(wrapped, kek_version="0b"))
    with pytest.raises(ConfigurationError, match="id="):
        place.provider.rotate(pinned)


def test_two_keys_of_one_name_and_id_are_refused(soft: TokenPlace) -> None:
    uri = make(soft, "make-aes", "07")
    wrapped = soft.provider.wrap(uri, DEK)
    soft.hsm.owner(soft.label, "make-aes", uri.rpartition("object=")[2], "07")
    with pytest.raises(ConfigurationError, match="2 keys"):
        soft.provider.wrap(uri, DEK)
    # What was opened on a kept session still is: it is one of the two, and proves itself.
    with pytest.raises(ConfigurationError, match="2 keys"):
        soft.new_provider().unwrap(wrapped)


def test_a_key_without_an_id_is_refused(soft: TokenPlace) -> None:
    uri = make(soft, "make-aes", "")
    with pytest.raises(ConfigurationError, match="CKA_ID"):
        soft.provider.wrap(uri, DEK)


@pytest.mark.parametrize("uses", ["wrap", "cipher", "both"])
def test_a_key_wraps_with_what_it_may_be_used_for(place: TokenPlace, uses: str) -> None:
    uri = make(place, "make-aes", "01", uses)
    wrapped = place.provider.wrap(uri, DEK)
    # SoftHSM's key wrap does not encrypt; NSS's does, with the same outcome.
    gcm = uses == "cipher" and place.hsm.profile == "softhsm"
    assert wrapped.algorithm == ("AES-GCM" if gcm else "AES-KW")
    assert len(wrapped.data) == (61 if gcm else 40)
    assert place.new_provider().unwrap(wrapped) == DEK
    for data in damaged(wrapped.data):
        with pytest.raises(TamperedError):
            place.provider.unwrap(replace(wrapped, data=data))


def test_a_key_that_may_neither_wrap_nor_encrypt_is_refused(place: TokenPlace) -> None:
    uri = make(place, "make-aes", "01", "nothing")
    with pytest.raises(KeyRevoked, match="CKA_WRAP"):
        place.provider.wrap(uri, DEK)


def test_a_key_whose_owner_forbids_unwrapping_is_revoked(place: TokenPlace) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    assert place.provider.unwrap(wrapped) == DEK
    place.hsm.owner(place.label, "forbid", place.name)
    for provider in (place.provider, place.new_provider()):
        with pytest.raises(KeyRevoked):
            provider.unwrap(wrapped)


@pytest.mark.parametrize("algorithm", ["AES-KW", "AES-KWP", "AES-GCM", "RSA-OAEP-SHA256", "RSA-OAEP"])
def test_every_algorithm_that_a_token_offers_opens_what_it_wrapped_and_nothing_else(
    place: TokenPlace, algorithm: str
) -> None:
    base = PROFILES[place.hsm.profile]
    uri = make(place, *(("make-rsa", "01") if "RSA" in algorithm else ("make-aes", "01", "both")))
    provider = place.new_provider(profile=replace(base, prefer=(algorithm,)))
    offered = ALGORITHMS["softhsm" if place.hsm.profile == "softhsm" else "nss"]
    if algorithm not in offered:
        with pytest.raises(ConfigurationError, match=algorithm):
            provider.wrap(uri, DEK)
        return
    wrapped = provider.wrap(uri, DEK)
    assert wrapped.algorithm == algorithm and DEK.reveal() not in wrapped.data
    # Recorded, and so opened by a provider that would choose another one.
    assert place.new_provider().unwrap(wrapped) == DEK
    # NSS takes its time over each RSA key that it reads.
    for data in damaged(wrapped.data)[:: 5 if "RSA" in algorithm else 1]:
        with pytest.raises(TamperedError):
            provider.unwrap(replace(wrapped, data=data))
    for other in {"AES-KW", "AES-GCM", "RSA-OAEP", "A256KW"} - {algorithm}:
        with pytest.raises((TamperedError, KeyRevoked)):
            provider.unwrap(replace(wrapped, algorithm=other))
    assert provider.unwrap(wrapped) == DEK


def test_rsa_with_sha1_is_used_where_nothing_else_opens_and_warned_of(
    place: TokenPlace, caplog: pytest.LogCaptureFixture
) -> None:
    uri = make(place, "make-rsa", "01")
    with caplog.at_level(logging.WARNING, "sqlalchemy_cmk.providers"):
        wrapped = place.provider.wrap(uri, DEK)
    soft = place.hsm.profile == "softhsm"
    assert wrapped.algorithm == ("RSA-OAEP" if soft else "RSA-OAEP-SHA256")
    assert ("SHA-1" in caplog.text) is soft and len(wrapped.data) == 256
    assert (Level.WARNING in {one.level for one in place.provider.health_checks(uri)}) is soft
    place.provider.rotate(uri)
    rotated = place.provider.wrap(uri, DEK)
    assert rotated.kek_version != wrapped.kek_version
    assert place.provider.unwrap(wrapped) == place.provider.unwrap(rotated) == DEK


@pytest.mark.parametrize(
    ("what", "more", "level", "words"),
    [
        ("make-aes", ("01", "wrap", "extractable"), Level.PROBLEM, "taken out"),
        ("make-rsa", ("01", "1024"), Level.PROBLEM, "1024 bits"),
        ("make-aes", ("01",), Level.OK, "AES of 256 bits, wraps with AES-KW"),
    ],
)
def test_doctor_tells_how_a_key_is_protected(
    soft: TokenPlace, what: str, more: tuple[str, ...], level: Level, words: str
) -> None:
    found = soft.provider.health_checks(make(soft, what, *more))
    assert any(one.level is level and words in one.what for one in found), found
    assert all(bool(one.remedy) is (one.level is not Level.OK) for one in found)


def test_the_nonce_of_gcm_is_new_each_time(soft: TokenPlace) -> None:
    uri = make(soft, "make-aes", "01", "cipher")
    nonces = {soft.provider.wrap(uri, DEK).data[:13] for _ in range(20)}
    assert len(nonces) == 20


def test_a_nonce_that_the_token_makes_is_stored(soft: TokenPlace) -> None:
    uri = make(soft, "make-aes", "01", "cipher")
    provider = soft.new_provider(profile=replace(PROFILES["softhsm"], gcm_iv_by_token=True))
    made = []

    def make_nonce(real: Callable[..., int], session: int, mechanism: int, key: int) -> int:
        if ctypes.c_ulong.from_address(mechanism).value != Mechanism.AES_GCM:
            return real(session, mechanism, key)
        # CK_MECHANISM: type, parameter. CK_GCM_PARAMS: pIv, ulIvLen, ...: an HSM in FIPS mode writes there.
        parameter = ctypes.c_size_t.from_address(mechanism + 8).value
        made.append(os.urandom(12))
        ctypes.memmove(ctypes.c_size_t.from_address(parameter).value, made[-1], 12)
        return real(session, mechanism, key)

    with instead_of(soft.hsm.module, C_EncryptInit=make_nonce):
        wrapped = [provider.wrap(uri, DEK) for _ in range(3)]
    assert [one.data[1:13] for one in wrapped] == made[-3:]
    assert [soft.new_provider().unwrap(one) for one in wrapped] == [DEK] * 3
    with pytest.raises((ConfigurationError, TamperedError)):
        soft.new_provider(profile=replace(PROFILES["softhsm"], gcm_iv_by_token=True)).wrap(uri, DEK)


@pytest.mark.parametrize("place", ["nss"], indirect=True)
def test_an_unwrap_that_has_to_be_told_the_length_is_told(place: TokenPlace) -> None:
    told = place.new_provider(profile=replace(PROFILES["generic"], unwrap_needs_value_len=True))
    assert told.unwrap(told.wrap(place.kek_uri, DEK)) == DEK


def test_a_mechanism_may_have_a_vendors_own_number(soft: TokenPlace) -> None:
    number = mechanism_of(0x80000171)
    assert (
        isinstance(number, Mechanism) and number == 0x80000171 and mechanism_of(0x2109).name == "AES_KEY_WRAP"
    )
    vendor = Profile("vendor", mechanisms={"AES-KW": 0x80000171}, prefer=("AES-KW",))
    with pytest.raises(ConfigurationError, match="AES-KW"):
        soft.new_provider(profile=vendor).wrap(soft.kek_uri, DEK)
    seen = []

    def translate(real: Callable[..., int], session: int, mechanism: int, *arguments: int) -> int:
        kind = ctypes.c_ulong.from_address(mechanism)
        seen.append(kind.value)
        kind.value = 0x2109
        return real(session, mechanism, *arguments)

    wrapped = soft.provider.wrap(soft.kek_uri, DEK)
    with instead_of(soft.hsm.module, C_UnwrapKey=translate):
        assert soft.new_provider(profile=vendor).unwrap(wrapped) == DEK
    assert set(seen) == {0x80000171}


def test_a_profile_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="generic"):
        Pkcs11KeyProvider("/nowhere.so", pin="env:X", profile="yubihsm")
    with pytest.raises(ConfigurationError, match="module="):
        Pkcs11KeyProvider(pin="env:X")
