"""Why keys are used, and by whom: in the audit trail, and joined with the log of the customer's own vault."""

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import MetaData, create_engine

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.keys import AuditEntry
from sqlalchemy_cmk.keys.audit.export import FORMATS, ExportFormat, check_export
from sqlalchemy_cmk.runtime.because import REASONS, call_id, calls_about, doing, kek_call
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.places import AzurePlace, vault_place
from tests.support.databases import Database
from tests.support.world import World


def last(world: World, event: str) -> AuditEntry:
    return [one for one in world.keyring.audit.entries("acme") if one.event == event][-1]


@pytest.fixture
def place(key_vault_emulator: KeyVaultEmulator) -> Iterator[AzurePlace]:
    place = vault_place(key_vault_emulator)
    yield place
    place.close()


def test_a_reason_and_a_person_stand_with_what_is_done_in_the_block(lite: World) -> None:
    lite.write("acme", "a note")
    lite.restart()
    with lite.keyring.because("support case 4711", actor="support@vendor.example"):
        assert lite.read("acme") == ["a note"]
        lite.keyring.lifecycle.rotate_dek("acme")
    for event in ("unwrap", "rotate"):
        row = last(lite, event)
        assert row.actor == "support@vendor.example" and row.detail.endswith("; because: support case 4711")
    lite.keyring.lifecycle.rotate_dek("acme")
    assert "because" not in last(lite, "rotate").detail
    assert lite.keyring.audit.verify().problems == ()


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201])
def test_a_reason_that_says_nothing_or_too_much_is_refused(lite: World, reason: str) -> None:
    with pytest.raises(ConfigurationError, match="reason"), lite.keyring.because(reason):
        pass


def test_a_change_that_needs_a_reason_is_refused_without_one(lite: World) -> None:
    lite.restart(reason_for=["rotate", "lock"])
    before = lite.active("acme")
    with pytest.raises(ConfigurationError, match="rotate needs a reason here, and nothing was changed"):
        lite.keyring.lifecycle.rotate_dek("acme")
    with pytest.raises(ConfigurationError):
        lite.keyring.lock("acme")
    assert lite.active("acme") == before
    with lite.keyring.because("yearly rotation"):
        lite.keyring.lifecycle.rotate_dek("acme")
    lite.keyring.lock("acme", reason="a laptop was stolen")
    assert lite.keyring.status(["acme"])[0].state == "locked"


def test_an_event_that_does_not_exist_needs_no_reason(lite: World) -> None:
    with pytest.raises(ConfigurationError, match="names of audit events"):
        lite.new_keyring(reason_for=["dance"])


def test_calls_for_one_dek_have_ids_that_begin_alike_and_are_never_the_same() -> None:
    ids = []
    for subject in (b"one", b"one", b"two"):
        with kek_call(subject, "open"):
            ids.append(call_id())
    first, second, other = ids
    assert first[:23] == second[:23] == calls_about(b"one") != other[:23] and first != second
    assert UUID(first).version == 8 and call_id() == ""


def test_the_id_of_a_call_says_why_it_is_made() -> None:
    seen = []
    for what in ("", "rekey run 5f0c"):
        with doing(what), kek_call(b"one", "proof"):
            seen.append(REASONS[int(call_id()[24], 16)])
    assert seen == ["proof", "rekey"]


def test_the_vaults_log_and_the_trail_are_joined_by_the_call(
    place: AzurePlace, sqlite_database: Database
) -> None:
    engine, metadata = create_engine(sqlite_database.url), MetaData()
    provider = place.new_provider(user_agent="clinic/2.1")
    with Keyring(engine, platform_key=place.kek_uri, providers=[provider]) as keyring:
        keyring.protect(metadata)
        metadata.create_all(engine)
        keyring.warm(["acme"], new=True)
        keyring.forget()
        place.vault.requests.clear()
        with keyring.because("support case 4711"):
            keyring.warm(["acme"], new=True)
        (asked,) = place.vault.requests.matching(operation="unwrapKey", status=200)
        row = [one for one in keyring.audit.entries("acme") if one.event == "unwrap"][-1]
        assert row.detail == f"open, call {asked.request_id}; because: support case 4711"
        assert asked.user_agent.startswith("clinic/2.1 ")
        assert keyring.audit.verify().problems == ()
    engine.dispose()


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_has_one_tenants_events_and_is_checked_alone(lite: World, form: ExportFormat) -> None:
    lite.write("acme", "a note")
    lite.write("globex", "a note")
    earlier = list(lite.keyring.audit.export("acme"))
    lite.keyring.lifecycle.rotate_dek("acme")
    lines = list(lite.keyring.audit.export("acme", form=form))
    parsed = [json.loads(one) for one in lines]
    assert {one.get("unmapped", one)["tenant"] for one in parsed} == {"acme"}
    end, problems = check_export(lines, earlier)
    assert problems == [] and end.rows == len(lines) - 1 > len(earlier) - 1
    assert end.mac != ""


def test_events_of_ocsf_say_what_the_rows_say(lite: World) -> None:
    lite.write("acme", "a note")
    wrap, end = (json.loads(one) for one in lite.keyring.audit.export("acme", form="ocsf"))
    row = last(lite, "wrap")
    assert (wrap["class_uid"], wrap["category_uid"], wrap["activity_id"], wrap["type_uid"]) == (
        6003,
        6,
        1,
        600301,
    )
    assert wrap["time"] == int(datetime.fromisoformat(row.at).timestamp() * 1000)
    call = row.detail.removeprefix("randomized, call ")
    assert wrap["api"] == {
        "operation": "wrap",
        "service": {"name": "sqlalchemy_cmk"},
        "request": {"uid": call},
    }
    assert wrap["metadata"]["correlation_uid"] == call and wrap["metadata"]["tenant_uid"] == "acme"
    assert wrap["actor"] == {"user": {"name": row.actor}} and wrap["src_endpoint"] == {"name": row.origin}
    assert wrap["resources"][1] == {"type": "KEK", "uid": "local:pmk", "version": row.kek_version}
    assert end["api"]["operation"] == "export" and end["type_uid"] == 600302
    required = {"actor", "api", "metadata", "severity_id", "src_endpoint", "time", "type_uid"}
    assert required <= wrap.keys() and required <= end.keys()


def test_an_event_that_says_something_else_than_its_row_is_found(lite: World) -> None:
    lite.write("acme", "a note")
    lines = list(lite.keyring.audit.export("acme", form="ocsf"))
    lines[0] = lines[0].replace('"type_uid":600301', '"type_uid":600302')
    assert check_export(lines)[1] == [
        "the event of row 1 was changed: it says something else than its unmapped fields"
    ]


def test_a_format_that_does_not_exist_is_refused(lite: World) -> None:
    with pytest.raises(ConfigurationError, match="'csv' is not an export format: give one of jsonl, ocsf"):
        list(lite.keyring.audit.export("acme", form="csv"))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("change", ["removed", "altered", "put elsewhere"])
def test_an_export_that_was_altered_is_found(lite: World, change: str, form: ExportFormat) -> None:
    lite.write("acme", "a note")
    lite.keyring.lifecycle.rotate_dek("acme")
    lines = list(lite.keyring.audit.export("acme", form=form))
    if change == "removed":
        del lines[0]
    elif change == "altered":
        lines[0] = lines[0].replace('"wrap"', '"shred"')
    else:
        lines[0], lines[1] = lines[1], lines[0]
    assert check_export(lines)[1] != []


def test_an_export_that_lacks_what_an_earlier_one_has_is_found(lite: World) -> None:
    lite.write("acme", "a note")
    earlier = list(lite.keyring.audit.export("acme"))
    lite.execute("DELETE FROM cmk_audit WHERE tenant = 'acme'")
    assert "an earlier export has" in check_export(lite.keyring.audit.export("acme"), earlier)[1][0]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"tenant": "acme"}', '{"unmapped": 1}'])
def test_a_file_that_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an export of a tenant's events"):
        check_export([text])
