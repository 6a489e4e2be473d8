"""AWS KMS runs the contract of every provider over HTTP; and what is its own alone."""

import logging
from typing import Any

import boto3
import pytest

from sqlalchemy_cmk import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers import AwsKmsProvider, Secret
from sqlalchemy_cmk.runtime.because import call_id, kek_call
from sqlalchemy_cmk.testing import ProviderContract
from sqlalchemy_cmk.testing.provider_contract import spellings
from tests.providers.aws.place import QUICK, AwsPlace, kms, place
from tests.support.aws import REGION, keys

__all__ = ["kms", "place"]

DEK = Secret(bytes(range(100, 132)))


class TestAwsKms(ProviderContract):
    @pytest.fixture
    def kek_place(self, place: AwsPlace) -> AwsPlace:
        return place


def test_a_wrapping_is_bound_to_its_tenant(place: AwsPlace) -> None:
    wrapped = place.provider.for_tenant("acme").wrap(place.kek_uri, DEK)
    assert place.provider.for_tenant("acme").unwrap(wrapped) == DEK
    for other in ("globex", ""):
        with pytest.raises(TamperedError, match="another tenant"):
            place.provider.for_tenant(other).unwrap(wrapped)


def test_a_keys_own_arn_cannot_tell_its_newest_version(place: AwsPlace) -> None:
    wrapped = place.provider.wrap(place.key.arn, DEK)
    assert place.provider.newest_version(place.key.arn) is None
    assert wrapped.kek_version == place.key.id and place.provider.unwrap(wrapped) == DEK


def test_cloudtrail_shows_the_application_and_the_id_of_each_call(place: AwsPlace) -> None:
    provider = place.new_provider(user_agent="clinic/2.1")
    with kek_call(b"a DEK", "open"):
        provider.wrap(place.kek_uri, DEK)
        assert place.kms.user_agents[-1].endswith(f"clinic/2.1 call/{call_id()}")
    provider.wrap(place.kek_uri, DEK)
    assert place.kms.user_agents[-1].endswith("clinic/2.1")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda key: keys().schedule_key_deletion(key.id, 7), "cancel the deletion"),
        (lambda key: keys().disable_key(key.id), "enables it again"),
        (lambda key: keys().delete_key(key.id), "is gone"),
    ],
)
def test_what_the_owner_does_is_revoked(place: AwsPlace, change: Any, told: str) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    change(place.key)
    with pytest.raises(KeyRevoked, match=told):
        place.provider.unwrap(wrapped)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "AccessDeniedException", KeyRevoked),
        (400, "ThrottlingException", KeyUnavailable),
        (400, "KeyUnavailableException", KeyUnavailable),
        (500, "KMSInternalException", KeyUnavailable),
        (503, "ServiceUnavailable", KeyUnavailable),
        (403, "Blocked by a proxy", KeyUnavailable),
        (400, "ExpiredTokenException", CredentialError),
        (403, "InvalidSignatureException", CredentialError),
    ],
)
def test_each_answer_has_its_meaning(place: AwsPlace, status: int, code: str, error: type[CmkError]) -> None:
    wrapped = place.provider.wrap(place.kek_uri, DEK)
    place.kms.fault = status, code
    with pytest.raises(error) as caught:
        place.provider.unwrap(wrapped)
    assert type(caught.value) is error or issubclass(type(caught.value), error)
    place.kms.fault = None
    assert place.new_provider().unwrap(wrapped) == DEK


def test_throttling_is_tried_again_and_a_refusal_is_not(place: AwsPlace) -> None:
    provider = place.new_provider(retries=1)
    wrapped = provider.wrap(place.kek_uri, DEK)
    for code, attempts in (("AccessDeniedException", 1), ("ThrottlingException", 2)):
        place.kms.requests.clear()
        place.kms.fault = 400, code
        with pytest.raises((KeyRevoked, KeyUnavailable)):
            provider.unwrap(wrapped)
        assert place.kms.requests == ["Decrypt"] * attempts


def test_a_server_that_is_away_is_unavailable(place: AwsPlace) -> None:
    with pytest.raises(KeyUnavailable, match="cannot be reached"):
        AwsKmsProvider(boto3.Session("testing", "testing"), endpoint_url="http://127.0.0.1:9", **QUICK).wrap(
            place.kek_uri, DEK
        )


def test_no_credentials_are_said_to_be_missing(place: AwsPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialError, match="no credentials"):
        AwsKmsProvider(endpoint_url=place.kms.url, **QUICK).wrap(place.kek_uri, DEK)


def test_a_key_that_never_existed_is_no_revoked_key(place: AwsPlace) -> None:
    with pytest.raises(ConfigurationError, match="no such key or alias"):
        place.provider.ensure(place.kek_uri.replace("clinic", "clinik"))
    place.provider.ensure(place.kek_uri)


def test_an_asymmetric_key_is_no_kek(place: AwsPlace) -> None:
    key = keys().create_key("", "ENCRYPT_DECRYPT", "RSA_2048", "", None)
    with pytest.raises(ConfigurationError, match="symmetric"):
        place.provider.check(key.arn)
    assert [one.level for one in place.provider.health_checks(key.arn)] == [Level.PROBLEM]
    assert [one.level for one in place.provider.health_checks(place.kek_uri)] == [Level.OK]


def test_only_keys_of_trusted_accounts_are_asked(place: AwsPlace) -> None:
    provider = place.new_provider(accounts=["999988887777"])
    assert not provider.handles(place.kek_uri)
    place.kms.requests.clear()
    with pytest.raises(ConfigurationError, match="another account"):
        provider.wrap(place.kek_uri, DEK)
    assert place.kms.requests == []


def test_each_account_has_the_session_that_is_made_for_it(place: AwsPlace) -> None:
    asked: list[str] = []

    def session_for(account: str) -> boto3.Session:
        asked.append(account)
        return boto3.Session("testing", "testing")

    provider = AwsKmsProvider(session_for=session_for, endpoint_url=place.kms.url, **QUICK)
    for uri in (place.kek_uri, place.other_kek_uri):
        provider.check(uri)
    assert asked == [place.key.account_id]
    provider.close()


def test_botocores_debug_log_shows_no_dek(place: AwsPlace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    place.provider.unwrap(place.provider.wrap(place.kek_uri, DEK))
    assert not any(one in caplog.text for one in spellings(DEK.reveal()))
    boto3.Session("testing", "testing").client("kms", REGION, endpoint_url=place.kms.url).list_keys()
    assert "ListKeys" in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        "arn:aws:s3:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-1:1111:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-1:111122223333:key/1234",
        "arn:aws:kms:evil.example:111122223333:alias/kek",
        "arn:aws:kms:eu-central-1:111122223333:alias/kek\n",
        "arn:aws:kms:eu-central-1:111122223333:alias/",
    ],
)
def test_what_is_no_arn_of_a_key_is_refused(uri: str) -> None:
    provider = AwsKmsProvider()
    assert not provider.handles(uri)
    with pytest.raises(ConfigurationError, match="arn:aws:kms:REGION"):
        provider.wrap(uri, DEK)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"session": "eu-central-1"}, "boto3.Session"),
        ({"session": boto3, "session_for": boto3}, "not both"),
        ({"accounts": "111122223333"}, "list"),
        ({"retries": -1}, "retries"),
        ({"endpoint_url": "http://kms.example"}, "https"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_give(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        AwsKmsProvider(**arguments)
