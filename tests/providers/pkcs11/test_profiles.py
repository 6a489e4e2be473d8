"""Profiles are data: complete, with sources, and nothing in them that the provider does not know."""

import re

import pytest

from sqlalchemy_cmk.providers.pkcs11.profiles import PREFERENCE, PROFILES, Profile

MAKES = [profile for profile in PROFILES.values() if profile.name != "generic"]
RUN = {"softhsm", "nss", "opencryptoki", "tpm2"}


def test_the_makes_that_azure_offers_have_profiles() -> None:
    assert {"azure-cloud-hsm", "luna7", "payshield"} | RUN <= set(PROFILES)


@pytest.mark.parametrize("profile", MAKES, ids=lambda profile: profile.name)
def test_a_profile_has_sources_and_says_whether_it_was_run(profile: Profile) -> None:
    assert profile.sources and all(re.match("https://|tried on ", one) for one in profile.sources)
    assert any(
        one.startswith("run here" if profile.name in RUN else "never run here") for one in profile.quirks
    )
    assert any(one.startswith("tried on") for one in profile.sources) == (profile.name in RUN)


@pytest.mark.parametrize("profile", MAKES, ids=lambda profile: profile.name)
def test_a_profile_names_known_algorithms_only(profile: Profile) -> None:
    assert set(profile.prefer) <= set(PREFERENCE) and set(profile.mechanisms) <= set(PREFERENCE)


def test_sha1_comes_last_everywhere() -> None:
    assert all(profile.prefer[-1] == "RSA-OAEP" for profile in PROFILES.values())
