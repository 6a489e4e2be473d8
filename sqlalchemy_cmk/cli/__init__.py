"""``cmk``: shows and changes tenants' keys from a shell. See ``cmk --help`` and ``docs/cli.md``."""

import sys

EXTRA = ("click", "rich")


def main() -> None:
    """Run ``cmk`` with this process's arguments, and exit with its exit code."""
    try:
        from sqlalchemy_cmk.cli.app import cmk
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"cmk needs {error.name}: run pip install 'sqlalchemy-cmk[cli]'", file=sys.stderr)
        sys.exit(5)
    cmk(prog_name="cmk")
