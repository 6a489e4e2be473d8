"""The operations: what a migration says. What each does is in the module of the same name in ``run``."""

# Importing Alembic loads the plugin, which imports these modules: it has to come first.
import alembic  # noqa: F401
