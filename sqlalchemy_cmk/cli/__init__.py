"""``cmk``: look at tenants' keys and change them from a shell. See ``cmk --help`` and ``docs/cli.md``."""

import sys

EXTRA = ("click", "rich")


def main() -> None:
    """Run ``cmk`` on this process's arguments and end the process with its exit code."""
    try:
        from sqlalchemy_cmk.cli.app import cmk
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"cmk needs {error.name}: run pip install 'sqlalchemy-cmk[cli]'", file=sys.stderr)
        sys.exit(5)
    cmk(prog_name="cmk")
