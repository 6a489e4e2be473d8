"""Offboarding: a tenant's rows exported, its keys destroyed, and both certified. See :func:`offboard`."""

from sqlalchemy_cmk.offboarding.offboard import Offboarded, offboard
from sqlalchemy_cmk.offboarding.sealing import open_export

__all__ = ["Offboarded", "offboard", "open_export"]
