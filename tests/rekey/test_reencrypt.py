"""Rows are re-encrypted under their tenants' active DEKs, and read as before."""

from sqlalchemy_cmk.rekey import Job, Rekey
from tests.keys.conftest import World


def headers(world: World) -> set[bytes]:
    return {bytes(row[0])[1:9] for row in world.raw("SELECT text FROM notes")}


def test_every_row_is_moved_to_the_active_dek_and_reads_as_before(world: World) -> None:
    before = world.read()
    for tenant in ("acme", "globex"):
        world.keyring.lifecycle.rotate_dek(tenant)
    job = Job.of(world.notes)
    rekey = Rekey(world.keyring, chunk=7, rate=None)
    assert rekey.rows_left(job) == 120
    report = rekey.run(job)
    assert report.ok and report.rows_changed == 120 and report.rows_left == 0, report
    assert headers(world) == {world.active("acme"), world.active("globex")}
    assert world.read() == before
    assert rekey.verify(job).ok


def test_a_process_that_has_an_older_dek_open_seals_under_the_one_that_another_has_made(world: World) -> None:
    here = World(world.url, world.folder, revalidate_after=300)
    here.keyring.warm(["acme", "globex"])
    world.keyring.lifecycle.rotate_dek("acme")
    report = Rekey(here.keyring, rate=None).run(Job.of(here.notes))
    assert report.ok and report.rows_changed == 60
    assert world.active("acme") in headers(world)
    here.close()
