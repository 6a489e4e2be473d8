"""SQL text that names protected tables: read with the declared tables at hand, or refused."""

from sqlalchemy_cmk.sql.columns import Output, Outputs, Path, Star, Value
from sqlalchemy_cmk.sql.plans import Inserted, Plan, Updated
from sqlalchemy_cmk.sql.reading import read_statement
from sqlalchemy_cmk.sql.schema import Schema
from sqlalchemy_cmk.sql.uses import Asked, Compared, Given

__all__ = [
    "Asked",
    "Compared",
    "Given",
    "Inserted",
    "Output",
    "Outputs",
    "Path",
    "Plan",
    "Schema",
    "Star",
    "Updated",
    "Value",
    "read_statement",
]
