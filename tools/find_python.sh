#!/bin/sh
# Prints the first Python that is new enough for the project and can make virtual environments.
# Usage: find_python.sh
set -eu

fit='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

for python in "${PYTHON:-}" /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
    if [ -n "$python" ] && command -v "$python" >/dev/null && "$python" -c "$fit" 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "found no Python 3.11 or newer with the modules venv and ensurepip" >&2
exit 1
