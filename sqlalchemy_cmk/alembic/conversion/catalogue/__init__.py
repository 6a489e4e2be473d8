"""What the catalogue says of a column that is to be replaced: what comes back, and what stands in the way.

Each database has a module or package of its name here, with a function ``read``. It is asked before anything
changes, and again under the lock of the swap.
"""

from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Structure, structure_of

__all__ = ["Structure", "structure_of"]
