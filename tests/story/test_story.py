"""One customer's story, from their first key to their last row, with both sides' applications running.

The vendor's is a web server with two workers over PostgreSQL, and ``cmk`` at a terminal. The customer's owns
a vault, which the vendor reaches as it would reach one of Azure's, and receives the vendor's webhooks. It is
one test of several chapters: each goes on where the one before it has ended.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.providers.onboarding import OnboardingProblem as Problem
from tests.story.commands import elsewhere
from tests.story.vendor import CUSTOMER
from tests.story.world import KEY, LEAVER, NAMES, NEIGHBOUR, WORKERS, Visitors, World, both_sides
from tests.support.databases import Servers, server_database
from tests.support.processes import await_true

ALICE, BOB = "alice@vendor.example", "bob@vendor.example"
# How cmk ends where a second person has to approve, where something is refused, and where it was altered.
APPROVAL, REFUSED, ALTERED = 8, 5, 1
GOOD: dict[str, Any] = {
    "kty": "RSA-HSM",
    "size": 2048,
    "key_ops": ["wrapKey", "unwrapKey"],
    "tags": {"cmk-tenant": CUSTOMER},
}


@pytest.fixture
def world(servers: Servers, tmp_path: Path) -> Iterator[World]:
    with (
        server_database("postgresql", servers.url("postgresql")) as database,
        both_sides(database.url, tmp_path) as world,
    ):
        yield world


MISTAKES: dict[Problem, dict[str, Any]] = {
    Problem.NOT_OWNED: {"tags": {"cmk-tenant": "somebody-else"}},
    Problem.DISABLED: {"enabled": False},
    Problem.EXPIRED: {"expires": 1_000_000_000},
    Problem.NOT_YET_VALID: {"not_before": 4_000_000_000},
    Problem.WRONG_OPERATIONS: {"key_ops": ["wrapKey"]},
}


def a_mistake_of_the_customers_is_named_with_its_cure_and_not_assigned(world: World) -> None:
    vault, app = world.customer.vault, world.emulator.app

    def refused(problem: Problem, kek_uri: str) -> None:
        report = world.keyring.onboarding(CUSTOMER, kek_uri).check()
        (failed,) = (one for one in report.steps if one.problem is problem)
        assert not report.ok and failed.do, report
        with pytest.raises((ConfigurationError, KeyRevoked)):
            world.keyring.assign(CUSTOMER, kek_uri)

    refused(Problem.NO_SUCH_KEY, vault.key_uri("missing"))
    for number, (problem, changes) in enumerate(MISTAKES.items()):
        vault.create_key(f"wrong-{number}", **{**GOOD, **changes})
        refused(problem, vault.key_uri(f"wrong-{number}"))
    vault.create_key(KEY, **GOOD)
    for granted, problem in (
        (["wrapKey", "unwrapKey"], Problem.MAY_NOT_GET),
        (["get", "unwrapKey"], Problem.MAY_NOT_WRAP),
        (["get", "wrapKey"], Problem.MAY_NOT_UNWRAP),
    ):
        vault.revoke(app)
        vault.grant(app, granted)
        refused(problem, world.kek_uri)
    vault.grant(app, ["get", "wrapKey", "unwrapKey"])
    vault.block("ForbiddenByFirewall")
    refused(Problem.NETWORK_BLOCKED, world.kek_uri)
    vault.unblock()
    assert {line.owner for line in world.keyring.status()} == {"platform"}


def a_key_made_as_the_instructions_say_is_taken_and_no_row_is_touched(world: World) -> None:
    said = world.terminal.run("onboard", CUSTOMER, "--kek", world.kek_uri, "--format", "az")
    assert f"cmk-tenant={CUSTOMER}" in said and "Crypto Service Encryption User" in said
    report = world.terminal.json("onboard", CUSTOMER, "--kek", world.kek_uri, "--check")
    assert report["ok"]
    folder = world.folder
    certificate = folder / "moved.json"
    world.terminal.run("assign", CUSTOMER, world.kek_uri, "--certificate", str(certificate))
    assert world.patients().json() == list(NAMES)
    told = world.customer.hears("rotated")
    assert told["data"]["kek_uri"] == world.kek_uri
    verified(world, certificate)


def each_use_of_the_key_in_the_vaults_log_is_explained_by_the_trail(world: World) -> None:
    log = world.customer.vault.requests
    log.clear()
    await_true(lambda: world.patients().ok and log.count(operation="unwrapKey", status=200) > 0)
    used = {one.request_id for one in log.matching(operation="unwrapKey", status=200)}
    assert {one.user_agent.split()[0] for one in log.matching(operation="unwrapKey")} == {"clinic/2.1"}

    def exported() -> list[dict[str, Any]]:
        lines = world.terminal.run("audit", "export", "--tenant", CUSTOMER).splitlines()
        return [json.loads(one) for one in lines[:-1]]

    def explained() -> bool:
        said = " ".join(row["detail"] for row in exported())
        return all(one.rpartition("-")[0] in said for one in used)

    # The last group of an id counts a process's calls. The trail has what is before it, a moment later.
    assert used
    await_true(explained)
    rows = exported()
    assert {row["tenant"] for row in rows} == {CUSTOMER}
    assert any("page /patients" in row["detail"] and row["actor"] == "dr. jones" for row in rows)


def a_lock_shuts_every_process_at_once_and_only_a_second_person_opens_it(world: World) -> None:
    with Visitors(world).asking() as visitors:
        assert world.is_open()
        world.terminal.run("lock", CUSTOMER, "--reason", "a laptop was stolen", actor=ALICE)
        await_true(world.is_shut)
        assert world.customer.hears("locked")["data"]["reason"].startswith("a laptop was stolen")
        request = requested(world.terminal.json("unlock", CUSTOMER, actor=ALICE, ends=APPROVAL))
        world.terminal.run(
            "approve", request, "--yes", actor=ALICE, ends=REFUSED
        )  # nobody approves what they ask for
        assert world.is_shut()
        world.terminal.run("approve", request, "--yes", actor=BOB)
        world.terminal.run("unlock", CUSTOMER, actor=ALICE)
        await_true(world.is_open)
        world.customer.hears("unlocked")
    assert len(visitors.answers) > WORKERS and set(visitors.answers) == {200}


def before_it_is_switched_off_the_customer_knows_what_will_stop(world: World) -> None:
    impact = world.terminal.json("impact", CUSTOMER, "--exact")
    columns = {
        f"{table['name']}.{column['name']}": column["values"]["rows"]
        for table in impact["tables"]
        for column in table["columns"]
    }
    assert columns == dict.fromkeys(("patients.name", "patients.notes", "visits.reason"), len(NAMES))
    assert impact["keks"] == [world.kek_uri] and impact["stops"] and impact["remains"]
    assert NEIGHBOUR not in json.dumps(impact)


def a_revocation_is_noticed_and_announced_and_so_is_its_end(world: World) -> None:
    world.customer.vault.disable_key(KEY)
    await_true(world.is_shut)
    assert world.customer.hears("revoked")["data"]["tenant"] == CUSTOMER
    assert world.patients(NEIGHBOUR).ok
    world.customer.vault.enable_key(KEY)
    await_true(world.is_open)
    world.customer.hears("restored")


def a_rotation_ends_with_a_certificate_that_is_verified_elsewhere(world: World) -> None:
    certificate = world.folder / "rotation.json"
    world.customer.vault.rotate_key(KEY)
    world.terminal.run("rewrap", CUSTOMER)
    world.terminal.run("rotate-dek", CUSTOMER, "--yes")
    world.terminal.run("rekey", "run", "--tenant", CUSTOMER, "--certificate", str(certificate))
    document = verified(world, certificate)
    after = document["after"]
    active = {one["id"] for one in after["keys"]["deks"] if one["state"] == "active"}
    under = {dek for table in after["tables"] for column in table["columns"] for dek in column["by_dek"]}
    assert under <= active
    assert world.patients().json() == list(NAMES)
    altered = world.folder / "altered.json"
    altered.write_text(certificate.read_text().replace(CUSTOMER, NEIGHBOUR))
    elsewhere(
        world.folder, "certificate", "verify", str(altered), "--key", str(world.public_key), ends=ALTERED
    )


def a_tenant_is_shredded_by_two_people(world: World) -> None:
    certificate = world.folder / "shredded.json"
    shred = ("shred", LEAVER, "--confirm", LEAVER, "--certificate", str(certificate))
    request = requested(world.terminal.json(*shred, actor=ALICE, ends=APPROVAL))
    assert world.patients(LEAVER).json() == list(NAMES) and not certificate.exists()
    world.terminal.run("approve", request, "--yes", actor=BOB)
    world.terminal.run(*shred, actor=ALICE)
    verified(world, certificate)
    await_true(lambda: world.patients(LEAVER).status_code == 403)
    assert [line.tenant for line in world.keyring.status(state="shredded")] == [LEAVER]


def a_customer_leaves_with_their_rows_and_the_proof_of_their_end(world: World) -> None:
    out = world.folder / "leaving"
    offboard = ("offboard", CUSTOMER, "--to", str(out), "--clear", "--confirm", CUSTOMER)
    request = requested(world.terminal.json(*offboard, actor=ALICE, ends=APPROVAL))
    world.terminal.run("approve", request, "--yes", actor=BOB)
    world.terminal.run(*offboard, actor=ALICE)
    _, *exported = (out / "patients.jsonl").read_text().splitlines()
    assert [json.loads(row)["name"] for row in exported] == list(NAMES)
    document = verified(world, out / "certificate.json")
    assert {one["table"] for one in document["files"]} == {"patients", "visits"}
    world.customer.hears("shredded")
    await_true(world.is_shut)
    assert world.patients(NEIGHBOUR).json() == list(NAMES)
    assert world.keyring.audit.verify().problems == ()
    assert world.customer.refused == 0


def verified(world: World, certificate: Path) -> Any:
    """Verify a certificate on another machine, with the vendor's public key, and return what it says."""
    verify = ("certificate", "verify", str(certificate), "--key", str(world.public_key))
    elsewhere(world.folder, *verify)
    return json.loads(certificate.read_text())["certificate"]


def requested(answer: Any) -> str:
    """Return the id of the request that a command has made instead of doing what it was given."""
    found: str = answer["request"]
    return found


def test_a_customers_key_is_brought_used_locked_revoked_rotated_and_ended(world: World) -> None:
    a_mistake_of_the_customers_is_named_with_its_cure_and_not_assigned(world)
    a_key_made_as_the_instructions_say_is_taken_and_no_row_is_touched(world)
    each_use_of_the_key_in_the_vaults_log_is_explained_by_the_trail(world)
    a_lock_shuts_every_process_at_once_and_only_a_second_person_opens_it(world)
    before_it_is_switched_off_the_customer_knows_what_will_stop(world)
    a_revocation_is_noticed_and_announced_and_so_is_its_end(world)
    a_rotation_ends_with_a_certificate_that_is_verified_elsewhere(world)
    a_tenant_is_shredded_by_two_people(world)
    a_customer_leaves_with_their_rows_and_the_proof_of_their_end(world)
