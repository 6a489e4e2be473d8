"""Signatures of webhooks: known answers, and what a receiver refuses."""

import json
import time

import pytest

from sqlalchemy_cmk import ConfigurationError, UnverifiedWebhook, Webhook, verify_webhook
from sqlalchemy_cmk.keys.events.signatures import sign, signing_keys
from tests.support.receiver import SECRET

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"test": 2432232314}'
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def signed(secret: str = SECRET, at: float | None = None, body: bytes = BODY) -> dict[str, str]:
    return sign(signing_keys(secret), ID, int(time.time() if at is None else at), body)


def test_the_published_example_is_signed_as_published() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the example of its libraries' tests.
    assert signed(at=1614265330) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_what_was_signed_is_verified_whatever_the_case_of_the_headers() -> None:
    headers = {name.title(): value for name, value in signed().items()}
    assert verify_webhook(headers, BODY, SECRET) == json.loads(BODY)


def test_while_a_secret_is_changed_either_side_may_be_first() -> None:
    assert verify_webhook(signed(OTHER), BODY, [SECRET, OTHER])
    both = sign(signing_keys([SECRET, OTHER]), ID, int(time.time()), BODY)
    assert verify_webhook(both, BODY, OTHER) and verify_webhook(both, BODY, SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-id": "msg_another"},
        {"webhook-timestamp": "another second"},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "\u0662"},
        {"webhook-timestamp": "9" * 400},
    ],
    ids=str,
)
def test_headers_that_were_changed_are_refused(change: dict[str, str]) -> None:
    # Not among the parameters: every worker has to collect the same ones.
    if "another second" in change.values():
        change = {"webhook-timestamp": str(int(time.time()) + 1)}
    with pytest.raises(UnverifiedWebhook):
        verify_webhook({**signed(), **change}, BODY, SECRET)


def test_a_body_that_was_changed_and_another_secret_are_refused() -> None:
    with pytest.raises(UnverifiedWebhook, match="this secret"):
        verify_webhook(signed(), BODY + b" ", SECRET)
    with pytest.raises(UnverifiedWebhook, match="this secret"):
        verify_webhook(signed(OTHER), BODY, SECRET)


def test_a_missing_header_is_named() -> None:
    headers = signed()
    del headers["webhook-id"]
    with pytest.raises(UnverifiedWebhook, match="lacks webhook-id"):
        verify_webhook(headers, BODY, SECRET)


@pytest.mark.parametrize("age", [-400, 400])
def test_a_request_that_is_played_back_is_refused(age: int) -> None:
    headers = signed(at=time.time() - age)
    with pytest.raises(UnverifiedWebhook, match="within 300 seconds"):
        verify_webhook(headers, BODY, SECRET)
    assert verify_webhook(headers, BODY, SECRET, tolerance=500)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{"])
def test_a_signed_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(UnverifiedWebhook, match="JSON"):
        verify_webhook(signed(body=body), body, SECRET)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", "whsec_?", SECRET[6:], [], [SECRET, ""], None]
)
def test_what_is_no_secret_is_refused_and_not_quoted(secret: object) -> None:
    with pytest.raises(ConfigurationError, match="openssl") as refused:
        Webhook("siem", "https://siem.example", secret)  # type: ignore[arg-type]
    assert len(str(secret)) < 10 or str(secret) not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://siem.example/",
        "http://127.0.0.1:8000/",
        "https://",
        "https:///path",
        "https://user:password@siem.example/",
        "https://siem.example:99999/",
        "https://siem.example/\r\nX: 1",
        "https://siem.example/#there",
        "ftp://siem.example/",
        "file:///etc/passwd",
        None,
    ],
)
def test_an_address_that_nothing_is_posted_to(url: object) -> None:
    with pytest.raises(ConfigurationError, match="https://HOST") as refused:
        Webhook("siem", url, SECRET)  # type: ignore[arg-type]
    assert len(str(url)) < 10 or str(url) not in str(refused.value)


def test_only_this_machine_may_be_asked_without_tls() -> None:
    assert Webhook("here", "http://127.0.0.1:8000/", SECRET, local=True)
    assert Webhook("here", "http://[::1]:8000/", SECRET, local=True)
    with pytest.raises(ConfigurationError):
        Webhook("there", "http://127.0.0.1.siem.example/", SECRET, local=True)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é", None])
def test_a_name_that_no_column_keeps(name: object) -> None:
    with pytest.raises(ConfigurationError, match="visible ASCII"):
        Webhook(name, "https://siem.example", SECRET)  # type: ignore[arg-type]


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match="grace_used"):
        Webhook("siem", "https://siem.example", SECRET, kinds=["revoked", "expires"])


def test_its_repr_shows_neither_the_secret_nor_the_address() -> None:
    shown = repr(Webhook("siem", "https://siem.example/?code=TOKEN", SECRET))
    assert "siem" in shown and "TOKEN" not in shown and SECRET[6:] not in shown
