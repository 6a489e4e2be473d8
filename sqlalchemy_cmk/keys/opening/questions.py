"""What a caller asks of an opener: a DEK by its id, or a tenant's active one."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from sqlalchemy_cmk.keys.model import OpenedDek, Purpose


class ActiveDek(NamedTuple):
    """The question for a tenant's active DEK.

    Attributes:
        tenant: the tenant.
        purpose: what the DEK is for.
        seals: whether new values are to be sealed under it, so that it is made where there is none. One that
            only seals what a query compares with may come from a database that cannot be written.
    """

    tenant: str
    purpose: Purpose
    seals: bool = True


# A DEK by its id, or as its tenant's active one.
Question = bytes | ActiveDek
Answers = dict[Question, Future[OpenedDek | None]]
