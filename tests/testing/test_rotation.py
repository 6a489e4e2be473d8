"""Rotation: a new version of the same kind, which expires as the policy says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

from sqlalchemy_cmk.testing import Vault
from sqlalchemy_cmk.testing.rotation import seconds
from tests.testing.conftest import DEK, Client, opened

DAY = 86400


@pytest.mark.parametrize(("kty", "size"), [("RSA", 3072), ("RSA-HSM", 2048)])
def test_a_rotated_key_has_a_new_version_and_its_old_ones_still_open(
    admin: Client, vault: Vault, kty: str, size: int
) -> None:
    old = vault.create_key("kek", kty, size, key_ops=["wrapKey", "unwrapKey"], tags={"a": "b"})
    wrapped = admin.wrap("kek")
    new = admin.rotate_key("kek")
    assert (new.key_type, new.key_operations, new.properties.tags) == (
        kty,
        ["wrapKey", "unwrapKey"],
        {"a": "b"},
    )
    assert int.from_bytes(new.key.n, "big").bit_length() == size
    assert admin.get_key("kek").id == new.id != old.kid and new.properties.expires_on is None
    assert opened(admin.unwrap(f"kek/{old.version}", wrapped)) == DEK


def test_a_symmetric_key_rotates_too(hsm_admin: Client, hsm: Vault) -> None:
    old = hsm.create_key("kek", size=192)
    wrapped = hsm_admin.wrap("kek", "A192KW")
    hsm_admin.rotate_key("kek")
    assert hsm_admin.wrap("kek", "A192KW") != wrapped
    assert opened(hsm_admin.unwrap(f"kek/{old.version}", wrapped, "A192KW")) == DEK


def test_a_key_without_a_policy_of_its_own_notifies_before_it_expires(admin: Client, vault: Vault) -> None:
    vault.create_key("kek")
    policy = admin.get_key_rotation_policy("kek")
    assert policy.id == f"{vault.url}/keys/kek/rotationpolicy"
    assert policy.expires_in is None
    assert [(one.action, one.time_before_expiry) for one in policy.lifetime_actions] == [("Notify", "P30D")]


def test_a_policy_is_kept_and_obeyed_at_a_rotation(admin: Client, vault: Vault) -> None:
    vault.create_key("kek")
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P60D")
    admin.update_key_rotation_policy("kek", KeyRotationPolicy(expires_in="P90D", lifetime_actions=[action]))
    policy = admin.get_key_rotation_policy("kek")
    assert policy.expires_in == "P90D" and policy.created_on == policy.updated_on
    assert [(one.action, one.time_after_create) for one in policy.lifetime_actions] == [("Rotate", "P60D")]
    properties = admin.rotate_key("kek").properties
    assert properties.expires_on - properties.created_on == timedelta(days=90)


@pytest.mark.parametrize("expires_in", ["P27D", "soon", "P", "90"])
def test_a_policy_that_makes_no_sense_is_refused(admin: Client, vault: Vault, expires_in: str) -> None:
    vault.create_key("kek")
    with pytest.raises(HttpResponseError) as caught:
        admin.update_key_rotation_policy("kek", KeyRotationPolicy(expires_in=expires_in))
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")
    assert admin.get_key_rotation_policy("kek").expires_in is None


@pytest.mark.parametrize(
    ("duration", "length"),
    [
        ("P90D", 90 * DAY),
        ("P3M", 90 * DAY),
        ("P1Y10D", 375 * DAY),
        ("PT48H", 2 * DAY),
        ("P2W", 14 * DAY),
        ("PT1M30S", 90),
    ],
)
def test_durations_are_those_of_iso_8601(duration: str, length: int) -> None:
    assert seconds(duration) == length
