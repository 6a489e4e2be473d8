"""What could not be found out about a tenant's rows and keys, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy_cmk.databases.statistics import Known
from sqlalchemy_cmk.impact.report import TableImpact, Times
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.keys.records import TenantKeys


def unknown_of(
    keyring: Keyring, keys: TenantKeys, tables: Sequence[TableImpact], times: Times
) -> Iterator[str]:
    """Return what is not known, one sentence for each.

    Args:
        keyring: protects the models.
        keys: the tenant's keys.
        tables: what was found of its tables.
        times: when cached keys are gone, by this keyring's settings.
    """
    yield from (f"{one.name} could not be looked at: {one.problem}." for one in tables if one.problem)
    seen = [one for one in tables if not one.problem]
    vague = [one.name for one in seen if one.rows.known in (Known.AT_MOST, Known.UNKNOWN)]
    if vague:
        analyze = keyring.connections.database.statistics.analyze
        yield (
            f"How many rows of {', '.join(vague)} are the tenant's is not known without counting: run "
            f"{analyze}, or ask for exact numbers."
        )
    silent = {
        "read": not all(one.read_at for one in seen),
        "written": not all(one.written_at for one in seen),
    }
    if any(silent.values()):
        what = " or ".join(name for name, is_so in silent.items() if is_so)
        yield f"The database does not say when each of the tenant's tables was last {what}."
    longest = max((one.longest_use for one in keys.deks if one.state is DekState.ACTIVE), default=0.0)
    if keys.tenant.outage_grace is None and longest > times.unreachable:
        yield (
            "A process uses this tenant's keys by longer settings than these: up to "
            f"{longest:g} seconds after a proof."
        )
