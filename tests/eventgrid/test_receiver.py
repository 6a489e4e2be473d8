"""What requests of Azure Event Grid are answered, and what they lead to."""

import json
import logging
import threading
import time
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.eventgrid import EventGridReceiver
from tests.eventgrid.conftest import DAY, ORIGIN, QUERY, SECRET, Clinic
from tests.support.waiting import until


def test_a_new_version_leads_to_a_rewrap(everywhere: Clinic) -> None:
    (old,) = everywhere.versions()
    new = everywhere.place.vault.rotate_key("clinic-kek").version
    assert everywhere.post([everywhere.event("KeyNewVersionCreated")]).status == 200
    until(lambda: everywhere.versions() == {new})
    (event,) = everywhere.hear("rotated")
    assert (event.tenant, event.recorded_as, event.actor) == ("acme", "rewrap", "Azure Event Grid")
    assert "because: Microsoft.KeyVault.KeyNewVersionCreated" in event.reason
    everywhere.place.vault.disable_key("clinic-kek", old)
    everywhere.keyring.forget()
    assert everywhere.read("acme") == ["theirs"]


def test_cloud_events_are_taken_too_alone_and_in_batches(clinic: Clinic) -> None:
    for wrapped in (lambda one: one, lambda one: [one]):
        new = clinic.place.vault.rotate_key("clinic-kek").version
        assert clinic.post(wrapped(clinic.cloud_event("KeyNewVersionCreated"))).status == 200
        until(lambda expected=new: clinic.versions() == {expected})


def test_a_key_that_expires_is_told_once_for_each_threshold(clinic: Clinic) -> None:
    vault, url = clinic.place.vault, clinic.place.kek_uri
    for days in (29.5, 20, 6.5, 0.5):
        vault.update_key("clinic-kek", expires=int(time.time() + days * DAY))
        for _ in range(2):
            assert clinic.post([clinic.event("KeyNearExpiry")]).status == 200
            answered(clinic)
    heard = clinic.hear("expiring", "expiring", "expiring", "expiring")
    assert [one.reason.partition(":")[0] for one in heard] == [
        "within 30 days",
        "within 30 days",
        "within 7 days",
        "within 1 day",
    ], "the date was changed in between"
    assert {(one.tenant, one.kek_uri, one.kek_version) for one in heard} == {
        ("acme", url, vault.versions("clinic-kek")[0].version)
    }


def test_what_was_told_is_not_told_again_by_another_process(clinic: Clinic) -> None:
    clinic.place.vault.update_key("clinic-kek", expires=int(time.time() + 5 * DAY))
    clinic.post([clinic.event("KeyNearExpiry")])
    answered(clinic)
    clinic.hear("expiring")
    clinic.restart(providers=[clinic.place.new_provider(), clinic.provider])
    clinic.keyring.on_event(clinic.heard.append)
    clinic.receiver = EventGridReceiver(clinic.keyring, SECRET)
    clinic.post([clinic.event("KeyNearExpiry")])
    answered(clinic)
    clinic.place.vault.update_key("clinic-kek", expires=int(time.time() - 5))
    clinic.post([clinic.event("KeyExpired")])
    answered(clinic)
    assert clinic.hear("expiring", "expired")[1].tenant == "acme"


def test_the_date_is_the_vaults_and_not_the_messages(clinic: Clinic) -> None:
    event = clinic.event("KeyExpired")
    event["data"]["EXP"] = time.time() - 100
    assert clinic.post([event]).status == 200
    answered(clinic)
    clinic.hear()


def test_a_rewrap_and_the_doctor_look_at_the_dates_too(clinic: Clinic) -> None:
    from sqlalchemy_cmk.doctor import check_keys

    clinic.place.vault.update_key("clinic-kek", expires=int(time.time() + 20 * DAY))
    clinic.keyring.lifecycle.rewrap()
    clinic.hear("expiring")
    clinic.place.vault.update_key("clinic-kek", expires=int(time.time() + 0.5 * DAY))
    check_keys(clinic.keyring)
    clinic.hear("expiring", "expiring")


def test_the_platforms_kek_is_told_to_the_platform_alone(clinic: Clinic) -> None:
    uri = clinic.place.other_kek_uri
    clinic.restart(platform_key=uri, providers=[clinic.place.provider, clinic.provider])
    clinic.keyring.on_event(clinic.heard.append)
    clinic.place.vault.update_key("other-kek", expires=int(time.time() + 20 * DAY))
    clinic.keyring.lifecycle.assign("globex", uri)
    assert [one.tenant for one in clinic.hear("rotated", "expiring")] == ["globex", ""]


@pytest.mark.parametrize("name", ["unknown-kek", "CLINIC-KEK"])
def test_a_key_is_found_whatever_its_case_and_no_other_is_asked(clinic: Clinic, name: str) -> None:
    clinic.place.vault.requests.clear()
    clinic.place.vault.rotate_key("clinic-kek")
    assert clinic.post([clinic.event("KeyNearExpiry", name)]).status == 200
    answered(clinic)
    asked = clinic.place.vault.requests.operations()
    assert asked == (["get"] if name == "CLINIC-KEK" else [])


def test_a_notice_sends_no_request_to_a_vault_of_its_own_choice(clinic: Clinic) -> None:
    for host in ("evil.example", "acme.vault.azure.net", "127.0.0.1:1", "a@b"):
        assert clinic.post([clinic.event("KeyNewVersionCreated", host=host)]).status == 200
    clinic.post([{"eventType": "Microsoft.KeyVault.KeyExpired", "data": ["Id"]}])
    clinic.post([{"eventType": "Microsoft.KeyVault.SecretExpired", "data": {"Id": 1}}])
    answered(clinic)
    clinic.hear()


def test_a_vault_that_is_away_is_logged_and_the_next_notice_followed(
    clinic: Clinic, caplog: pytest.LogCaptureFixture
) -> None:
    clinic.place.vault.faults.down()
    clinic.post([clinic.event("KeyNearExpiry")])
    until(lambda: "was not followed: KeyUnavailable" in caplog.text)
    clinic.place.vault.faults.clear()
    new = clinic.place.vault.rotate_key("clinic-kek").version
    clinic.post([clinic.event("KeyNewVersionCreated")])
    until(lambda: clinic.versions() == {new})


def test_a_subscription_is_validated_by_its_code(clinic: Clinic) -> None:
    body = [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "subject": "",
            "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6", "validationUrl": "https://x"},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2018-01-25T22:12:19.4556811Z",
            "metadataVersion": "1",
            "dataVersion": "1",
        }
    ]
    answer = clinic.post(body, **{"aeg-event-type": "SubscriptionValidation"})
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body) == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}


def test_cloud_events_are_agreed_to_for_event_grid_alone(clinic: Clinic) -> None:
    def ask(origin: str, query: str = QUERY) -> tuple[int, str | None]:
        headers = {"WebHook-Request-Origin": origin, "WebHook-Request-Rate": "1000"}
        answer = clinic.receiver.answer("OPTIONS", headers, query, b"")
        return answer.status, answer.headers.get("WebHook-Allowed-Origin")

    assert ask(ORIGIN) == (200, ORIGIN)
    assert ask("evil.example") == (403, None) and ask("") == (403, None)
    assert ask(ORIGIN, "") == (401, None)


@pytest.mark.parametrize(
    "query", ["", "code=", f"code={SECRET[:-1]}", f"secret={SECRET}", "code=é", "&" * 99]
)
def test_without_the_secret_nothing_is_read(clinic: Clinic, query: str) -> None:
    clinic.place.vault.rotate_key("clinic-kek")
    old = clinic.versions()
    answer = clinic.post([clinic.event("KeyNewVersionCreated")], query)
    assert answer.status == 401 and clinic.post(b"no json", query).status == 401
    assert clinic.versions() == old


def test_the_secret_may_be_in_a_header_and_changed(clinic: Clinic) -> None:
    new = SECRET[::-1]
    receiver = EventGridReceiver(clinic.keyring, [new, SECRET])
    for secret in (new, SECRET):
        assert receiver.answer("POST", {"X-CMK-Secret": secret}, "", b"[]").status == 200
    assert receiver.answer("POST", {"X-CMK-Secret": "no"}, QUERY, b"[]").status == 200
    assert receiver.answer("POST", {"X-CMK-Secret": "no"}, "", b"[]").status == 401


@pytest.mark.parametrize("secret", ["", "short", [], [SECRET, "short"]])
def test_a_secret_that_can_be_guessed_is_refused(clinic: Clinic, secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="openssl"):
        EventGridReceiver(clinic.keyring, secret)


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'"text"', b"[1]", b'{"eventType": 7}', b"\xff"])
def test_what_is_no_event_is_a_bad_request(clinic: Clinic, body: bytes) -> None:
    assert clinic.post(body).status == 400


def test_methods_sizes_and_floods_are_bounded(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clinic.receiver.answer("GET", {}, QUERY, b"").headers == {"Allow": "POST, OPTIONS"}
    assert clinic.post(b" " * 1_200_000).status == 413
    monkeypatch.setattr("sqlalchemy_cmk.eventgrid.following.MOST_WAITING", 5)
    ends = threading.Event()

    def named(*_: object) -> tuple[str, ...]:
        ends.wait()
        return ()

    monkeypatch.setattr("sqlalchemy_cmk.eventgrid.following._named", named)
    flood = [clinic.event("KeyExpired", f"key-{number}") for number in range(7)]
    answer = clinic.post(flood)
    assert answer.status == 503 and answer.headers == {"Retry-After": "60"}
    ends.set()


def test_the_secret_is_in_no_log(clinic: Clinic, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        clinic.post([clinic.event("KeyExpired")])
        clinic.post(b"x")
        answered(clinic)
    assert SECRET not in caplog.text and SECRET not in repr(clinic.receiver)


def answered(clinic: Clinic) -> None:
    """Wait until every notice was followed, and what follows was noted."""
    done = threading.Event()
    clinic.receiver._following._threads.submit("", done.set)
    assert done.wait(30)
    clinic.keyring.keys.background.flush()
    clinic.keyring.keys.background.flush()
