"""A look before the leap: what sealing columns will do, and which queries it would refuse (``cmk check``)."""

from sqlalchemy_cmk.check.migrating import Migration, migrations
from sqlalchemy_cmk.check.source import Use, uses_in
from sqlalchemy_cmk.check.subjects import Subject, subjects_of
from sqlalchemy_cmk.check.timing import Timing
from sqlalchemy_cmk.runtime.places import Place

__all__ = ["Migration", "Place", "Subject", "Timing", "Use", "migrations", "subjects_of", "uses_in"]
