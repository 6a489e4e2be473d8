"""What a certificate says of a rotation, a move, a shredding: counted, verified, and true."""

from pathlib import Path

import pytest
from sqlalchemy import text

from sqlalchemy_cmk import ConfigurationError, Keyring, KeyUnavailable, TamperedError
from sqlalchemy_cmk.certificates import Certificate, recording, verify
from sqlalchemy_cmk.certificates.signed import public_pem
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey import Job, Rekey
from tests.support.world import World

TEXTS = [f"text {n}" for n in range(5)]


@pytest.fixture(autouse=True)
def _two_tenants(request: pytest.FixtureRequest) -> None:
    name = "world" if "world" in request.fixturenames else "sqlite_world"
    world: World = request.getfixturevalue(name)
    for owner in ("acme", "globex"):
        world.write(owner, *TEXTS)
        world.write(owner, *TEXTS[:2], table=world.codes)


def counts(certificate: Certificate, when: str) -> dict[str, tuple[int, dict[str, int]]]:
    tables = getattr(certificate, when).tables
    return {one.table: (one.rows, dict(one.columns[0].by_dek)) for one in tables}


def test_a_rotation_shows_every_row_under_the_new_dek_and_none_under_the_old(world: World) -> None:
    old, codes = world.active("acme").hex(), world.raw("SELECT text FROM codes WHERE owner = 'acme'")
    code = bytes(codes[0][0])[1:9].hex()
    with (
        world.keyring.because("the yearly rotation", actor="Ann"),
        recording(world.keyring, "acme", "rotate") as made,
    ):
        world.keyring.lifecycle.rotate_dek("acme")
        report = Rekey(world.keyring).run(Job.of(world.notes, tenant="acme"))
        made.result["rows changed"] = report.rows_changed
    certificate = verify(made.certificate.to_bytes()).certificate
    assert certificate == made.certificate.certificate
    new = world.active("acme").hex()
    assert counts(certificate, "before") == {"notes": (5, {old: 5}), "codes": (2, {code: 2})}
    assert counts(certificate, "after") == {"notes": (5, {new: 5}), "codes": (2, {code: 2})}
    assert (certificate.after.under("retired"), certificate.after.under("active")) == (0, 7)
    assert {one.id: one.state for one in certificate.after.keys.deks}[old] == "retired"
    assert (certificate.actor, certificate.reason) == ("Ann", "the yearly rotation")
    assert certificate.result == {"rows changed": 5}
    changes = [one.event for one in certificate.trail if one.event != "unwrap"]
    assert changes == ["rotate", "reencrypt"]
    assert {one.tenant for one in certificate.trail} == {"acme"}
    assert certificate.before.at <= certificate.before.until <= certificate.after.at
    assert "globex" not in made.certificate.to_bytes().decode()


def test_the_trail_between_is_the_trails_own(sqlite_world: World) -> None:
    with recording(sqlite_world.keyring, "acme", "assign") as made:
        sqlite_world.keyring.lifecycle.rotate_dek("globex")
        sqlite_world.keyring.assign("acme", "local:theirs")
    certificate = made.certificate.certificate
    stored = {one.seq: one for one in sqlite_world.keyring.audit.entries()}
    assert all(stored[one.seq] == one and one.computed_hash() == one.hash for one in certificate.trail)
    for observed in (certificate.before, certificate.after):
        assert stored[observed.trail_seq].hash == observed.trail_hash
    before, after = certificate.before.keys, certificate.after.keys
    assert (before.kek_uri, after.kek_uri) == ("local:pmk", "local:theirs")
    assert {one.kek_uri for dek in after.deks for one in dek.wrappings} == {"local:theirs"}
    assert all(one.kek_version for dek in after.deks for one in dek.wrappings)
    assert after.authenticated and after.epoch > before.epoch


def test_a_shredding_names_the_deks_and_the_values_that_are_lost(world: World) -> None:
    deks = {world.active("acme").hex(), world.active("acme", Purpose.DETERMINISTIC).hex()}
    with recording(world.keyring, "acme", "shred") as made:
        world.keyring.lifecycle.shred("acme", confirm="acme")
    certificate = made.certificate.certificate
    assert set(certificate.destroyed) == deks and certificate.after.keys.state == "shredded"
    assert certificate.after.under("destroyed") == 7 and certificate.after.under("active") == 0
    assert not any(dek.wrappings for dek in certificate.after.keys.deks)


def test_a_writer_meanwhile_is_counted_and_never_hidden(world: World) -> None:
    with recording(world.keyring, "acme", "rotate") as made:
        world.keyring.lifecycle.rotate_dek("acme")
        Rekey(world.keyring).run(Job.of(world.notes, tenant="acme"))
        # Written by a process that had not noticed the rotation: the stored bytes are those of another row.
        world.execute("INSERT INTO notes (owner, text) SELECT 'acme', text FROM notes WHERE owner = 'globex'")
        world.write("acme", "one more")
    after = made.certificate.certificate.after
    assert after.tables[0].rows == 11 and after.under("active") == 8
    assert after.not_sealed == 5 and after.tables[0].columns[0].other == 5


def test_values_that_are_not_sealed_are_counted(sqlite_world: World) -> None:
    with sqlite_world.engine.begin() as connection:
        connection.execute(text("INSERT INTO notes (owner, text) VALUES ('acme', 'plain'), ('acme', NULL)"))
    with recording(sqlite_world.keyring, "acme", "shred") as made:
        sqlite_world.keyring.lifecycle.shred("acme", confirm="acme")
    (counted,) = made.certificate.certificate.after.tables[0].columns
    assert (counted.unsealed, counted.null, counted.other) == (1, 1, 0)


def test_a_tenant_that_had_no_keys_begins_with_none(sqlite_world: World) -> None:
    with recording(sqlite_world.keyring, "new", "assign") as made:
        sqlite_world.keyring.assign("new", "local:new")
    before, after = made.certificate.certificate.before.keys, made.certificate.certificate.after.keys
    assert (before.state, before.deks, after.kek_uri) == ("none", (), "local:new")


def test_work_that_fails_is_not_certified(sqlite_world: World) -> None:
    with pytest.raises(ConfigurationError), recording(sqlite_world.keyring, "acme", "shred") as made:
        sqlite_world.keyring.lifecycle.shred("acme", confirm="globex")
    with pytest.raises(ConfigurationError, match="there is no certificate yet"):
        _ = made.certificate


def test_without_a_key_nothing_is_begun(sqlite_world: World, tmp_path: Path) -> None:
    sources = (None, f"file:{tmp_path / 'none.pem'}", lambda: "no key")
    for source in sources:
        sqlite_world.restart(certificate_key=source)
        refused = pytest.raises((ConfigurationError, KeyUnavailable), match="cmk certificate make-key")
        with refused, recording(sqlite_world.keyring, "acme", "shred"):
            sqlite_world.keyring.lifecycle.shred("acme", confirm="acme")
        assert sqlite_world.read("acme") == TEXTS


def test_keys_that_were_altered_are_not_certified(world: World) -> None:
    world.execute("UPDATE cmk_tenants SET kek_uri = 'local:other' WHERE tenant = 'acme'")
    with pytest.raises(TamperedError), recording(world.keyring, "acme", "rewrap"):
        raise AssertionError("the block is not run")


def test_rows_that_cannot_be_counted_are_not_certified(sqlite_world: World) -> None:
    sqlite_world.execute("DROP TABLE codes")
    refused = pytest.raises(ConfigurationError, match=r"cannot be counted .*codes")
    with refused, recording(sqlite_world.keyring, "acme", "rewrap"):
        raise AssertionError("the block is not run")


def test_the_key_is_in_no_repr_and_in_no_traceback(sqlite_world: World) -> None:
    key = sqlite_world.keyring.certificate_key
    assert key is not None and "PRIVATE" not in repr(key) + repr(sqlite_world.keyring) + repr(vars(key))
    assert public_pem(key.public()).startswith(b"-----BEGIN PUBLIC KEY-----")
    assert isinstance(sqlite_world.keyring, Keyring)
