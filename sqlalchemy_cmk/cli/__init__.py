"""``cmk``: shows and changes tenants' keys from a shell. See ``cmk --help`` and ``docs/cli.md``."""

import sys

EXTRA = ("alembic", "click", "rich", "sqlglot")


def main() -> None:
    """Run ``cmk`` with this process's arguments, and exit with its exit code."""
    try:
        from sqlalchemy_cmk.cli.app import cmk
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRA:
            raise
        print(f"cmk needs {name}: run pip install 'sqlalchemy-cmk[cli]'", file=sys.stderr)
        sys.exit(5)
    cmk(prog_name="cmk")
