"""What happens to processes: time, crashes, forks, and what owners and networks do to KEKs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.access import Troubles
from tests.simulation.steps import CONVERT, WRITE

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


# As long as nobody asks whether what is sealed has been sent.
A_MOMENT = 5.0
MOST_TURNS = 300


def a_moment_passes(world: World) -> None:
    _pass(world, world.random.uniform(0.1, A_MOMENT))


def time_passes(world: World) -> None:
    """The time for which keys stay open, or somewhat less or more."""
    settings = world.random.choice(world.processes).settings
    length = world.random.choice((10, 120, settings.revalidate_after, settings.longest_use))
    _pass(world, length * world.random.uniform(0.7, 1.3))


def a_process_crashes(world: World) -> None:
    process = world.random.choice(world.processes)
    world.scheduler.note(f"{process.name} crashes")
    process.crash()
    world.remove(process)
    world.add_process()


def a_process_forks(world: World) -> None:
    process = world.random.choice(world.processes)
    world.scheduler.note(f"{process.name} forks, and goes on as its child")
    world.finish(process.fork())


def an_owner_revokes(world: World) -> None:
    uri = world.random.choice(world.invariants.keks_in_use() or sorted(world.vault.keks))
    world.scheduler.note(f"{uri} is taken away")
    world.vault.keks[uri].enabled = False
    world.invariants.note_access()


def a_revocation_comes_in_the_middle(world: World) -> None:
    """A KEK is taken away, what is under way goes on for a moment, and then its bound is over."""
    an_owner_revokes(world)
    for _ in range(world.random.randint(0, 10)):
        if world.under_way:
            world.turn()
    bound = world.random.choice(world.processes).settings.revalidate_after
    _pass(world, bound * world.random.uniform(1.0, 1.1))


def a_revocation_comes_in_the_middle_of_a_transaction(world: World) -> None:
    """Every KEK is taken away, and its bound is over, between two statements of what a process writes."""
    world.begin(world.random.choice(world.processes), WRITE)
    writing: list[Process] = []
    for _ in range(MOST_TURNS):
        if writing or not world.under_way:
            break
        world.turn()
        writing = [one for one in world.processes if one.wire.is_writing]
    if not writing:
        return
    for uri in world.invariants.keks_in_use():
        world.scheduler.note(f"{uri} is taken away")
        world.vault.keks[uri].enabled = False
    world.invariants.note_access()
    _pass(world, writing[0].settings.revalidate_after * world.random.uniform(1.0, 1.1))


def a_process_is_replaced(world: World) -> None:
    process = world.random.choice(world.processes)
    world.scheduler.note(f"{process.name} is replaced")
    world.replace(process)


def an_owner_gives_back(world: World) -> None:
    for uri in sorted(world.vault.keks):
        if not world.vault.gives(uri) and world.random.random() < 0.7:
            world.scheduler.note(f"{uri} is given back")
            world.vault.keks[uri].enabled = True
    world.invariants.note_access()


def a_kek_is_rotated(world: World) -> None:
    uri = world.random.choice(sorted(world.vault.keks))
    world.scheduler.note(f"{uri} is rotated")
    world.vault.rotate(uri)


def a_network_breaks(world: World) -> None:
    uri = world.random.choice(sorted(world.vault.keks))
    world.scheduler.note(f"{uri} is out of reach")
    world.faults.unreachable.add(uri)


def networks_heal(world: World) -> None:
    world.scheduler.note("every KEK can be reached")
    world.faults.unreachable.clear()


def a_version_is_deployed(world: World) -> None:
    """Two machines begin with its migration at the same time."""
    world.scheduler.note("a version is deployed")
    for _ in range(2):
        world.begin(world.random.choice(world.processes), CONVERT)


def _pass(world: World, seconds: float) -> None:
    world.scheduler.note(f"{seconds:.1f} seconds pass")
    if seconds > A_MOMENT:
        world.send_what_is_sealed()
    for process in world.processes:
        if process.keeps_calls_waiting():
            process.troubles.note(Troubles.THREADS)
    world.scheduler.leap(seconds)


HAPPENINGS: tuple[tuple[Callable[[World], None], float], ...] = (
    (a_moment_passes, 3),
    (time_passes, 4),
    (a_process_crashes, 1),
    (a_process_forks, 0.5),
    (a_process_is_replaced, 0.5),
    (an_owner_revokes, 1),
    (a_revocation_comes_in_the_middle, 0.7),
    (a_revocation_comes_in_the_middle_of_a_transaction, 0.7),
    (an_owner_gives_back, 2),
    (a_kek_is_rotated, 1),
    (a_network_breaks, 0.7),
    (networks_heal, 1.5),
    (a_version_is_deployed, 0.6),
)
