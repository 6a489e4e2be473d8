"""Health checks of a keyring and its sealed columns, as ``cmk doctor`` runs them.

Nothing is changed. The audit trail has a row ``check`` for each KEK that was asked.
"""

from __future__ import annotations

from sqlalchemy_cmk.doctor.columns import ColumnChecks
from sqlalchemy_cmk.doctor.indexes import IndexChecks
from sqlalchemy_cmk.doctor.keys import KeyChecks
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.runtime.because import doing
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.kinds import takes

__all__ = ["Finding", "Level", "check_columns", "check_keys", "run_checks"]


@takes(keyring=KEYRING)
def run_checks(keyring: Keyring) -> list[Finding]:
    """Check the key tables, every KEK in use, the audit trail, and one value of each sealed column.

    Each KEK is asked to wrap and to unwrap. One stored value of each sealed column is opened and discarded.
    """
    return [*check_keys(keyring), *check_columns(keyring)]


@takes(keyring=KEYRING)
def check_keys(keyring: Keyring) -> list[Finding]:
    """Check the key tables, every KEK in use and the audit trail; no row of the application is read."""
    with doing("doctor"):
        return off_the_loop(lambda: KeyChecks(keyring).findings())


@takes(keyring=KEYRING)
def check_columns(keyring: Keyring) -> list[Finding]:
    """Open one stored value of each sealed column, and look at search indexes.

    Returns nothing if the key tables cannot be read.
    """
    try:
        keyring.status(limit=1)
    except CmkError:  # the findings about the key tables report it
        return []
    checks = ColumnChecks(keyring), IndexChecks(keyring)
    with doing("doctor"):
        return off_the_loop(lambda: [found for one in checks for found in one.findings()])
