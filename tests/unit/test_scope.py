"""The tenant scope: which tenant a statement is for where no row says so, and who sees it."""

import asyncio
import enum
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context

import pytest

from sqlalchemy_cmk import TenantMismatch, TenantRequired, tenant_scope
from sqlalchemy_cmk.scope import agreed_tenant, current_tenant, tenant_name


class Clinic(enum.Enum):
    ACME = "acme"
    SEVENTH = 7


class Region(enum.StrEnum):
    NORTH = "north"


def test_outside_of_any_scope_no_tenant_is_known() -> None:
    assert current_tenant() is None


def test_the_innermost_scope_names_the_tenant_and_its_end_gives_the_outer_one_back() -> None:
    with tenant_scope("acme"):
        with tenant_scope("globex"):
            with tenant_scope("globex"):
                assert current_tenant() == "globex"
            assert current_tenant() == "globex"
        assert current_tenant() == "acme"
    assert current_tenant() is None


def test_a_scope_ends_with_its_block_when_an_error_leaves_it() -> None:
    with tenant_scope("acme"):
        with pytest.raises(ZeroDivisionError), tenant_scope("globex"):
            raise ZeroDivisionError
        assert current_tenant() == "acme"
    assert current_tenant() is None


def test_none_leaves_the_outer_scope_for_its_block() -> None:
    with tenant_scope("acme"):
        with tenant_scope(None):
            assert current_tenant() is None
        assert current_tenant() == "acme"


def test_a_scope_with_an_empty_name_is_refused_and_the_outer_one_stays() -> None:
    with tenant_scope("acme"):
        with pytest.raises(TenantRequired), tenant_scope(""):
            pytest.fail("the block must not run")
        assert current_tenant() == "acme"


def test_a_name_has_at_most_190_characters() -> None:
    with tenant_scope("ä" * 190):
        assert current_tenant() == "ä" * 190
    with pytest.raises(TenantRequired, match="at most 190 characters, not 191"), tenant_scope("a" * 191):
        pytest.fail("the block must not run")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("acme", "acme"),
        (" acme ", " acme "),
        ("ACME", "ACME"),
        (7, "7"),
        (0, "0"),
        (-1, "-1"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Clinic.ACME, "acme"),
        (Clinic.SEVENTH, "7"),
        (Region.NORTH, "north"),
    ],
)
def test_a_tenant_is_named_after_the_value_of_its_column(value: object, name: str) -> None:
    assert tenant_name(value) == name and type(tenant_name(value)) is str
    with tenant_scope(value):
        assert current_tenant() == name


@pytest.mark.parametrize("value", [None, "", "x" * 191, 10**190])
def test_a_row_without_a_tenant_of_a_length_that_fits_is_refused(value: object) -> None:
    with pytest.raises(TenantRequired):
        tenant_name(value)


def test_the_row_decides_and_the_scope_serves_where_there_is_no_row() -> None:
    assert agreed_tenant("acme", "patients.ssn") == "acme"
    with tenant_scope("acme"):
        assert agreed_tenant("acme", "patients.ssn") == "acme"
        assert agreed_tenant(None, "patients.ssn") == "acme"


def test_where_neither_names_a_tenant_the_error_names_the_column() -> None:
    with pytest.raises(TenantRequired, match=r"patients\.ssn") as caught:
        agreed_tenant(None, "patients.ssn")
    assert type(caught.value) is TenantRequired


def test_a_scope_that_contradicts_the_row_is_an_error_that_names_both() -> None:
    with tenant_scope("globex"), pytest.raises(TenantMismatch, match=r"patients\.ssn.*'acme'.*'globex'"):
        agreed_tenant("acme", "patients.ssn")


def test_other_threads_do_not_see_a_scope() -> None:
    with ThreadPoolExecutor(1) as pool, tenant_scope("acme"):
        assert pool.submit(current_tenant).result() is None


def test_a_thread_that_is_given_the_context_sees_its_scope() -> None:
    with ThreadPoolExecutor(1) as pool, tenant_scope("acme"):
        assert pool.submit(copy_context().run, current_tenant).result() == "acme"


def test_scopes_of_threads_that_run_side_by_side_are_their_own() -> None:
    everyone_is_inside = threading.Barrier(8)

    def work(number: int) -> str | None:
        with tenant_scope(number):
            everyone_is_inside.wait(timeout=60)
            return current_tenant()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [str(number) for number in range(8)]


async def test_asyncio_tasks_see_the_scope_in_which_they_were_made() -> None:
    async def ask() -> str | None:
        await asyncio.sleep(0)
        return current_tenant()

    with tenant_scope("acme"):
        task = asyncio.create_task(ask())
        assert await ask() == "acme"
        assert await asyncio.to_thread(current_tenant) == "acme"
    assert await task == "acme"
    assert await ask() is None


async def test_a_task_that_enters_a_scope_leaves_its_neighbours_alone() -> None:
    everyone_is_inside = asyncio.Barrier(4)

    async def work(tenant: str) -> str | None:
        with tenant_scope(tenant):
            await everyone_is_inside.wait()
            return current_tenant()

    with tenant_scope("outer"):
        names = ["a", "b", "c", "d"]
        assert await asyncio.gather(*(work(name) for name in names)) == names
        assert current_tenant() == "outer"


def test_a_scope_may_be_kept_open_by_an_exit_stack() -> None:
    with ExitStack() as stack:
        stack.enter_context(tenant_scope("acme"))
        assert current_tenant() == "acme"
    assert current_tenant() is None


@pytest.mark.parametrize("value", [b"acme", 1.5, ["acme"], object()], ids=lambda value: type(value).__name__)
def test_what_names_no_tenant_is_not_guessed(value: object) -> None:
    with pytest.raises(TenantRequired, match=type(value).__name__):
        tenant_name(value)


def test_a_member_without_a_value_names_no_tenant() -> None:
    class Owner(enum.Enum):
        NOBODY = None

    with pytest.raises(TenantRequired):
        tenant_name(Owner.NOBODY)
