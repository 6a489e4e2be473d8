#!/bin/bash
# Builds the sdist and the wheel, installs the wheel into an empty environment, and tries it there: the library
# without any extra, then the command line.
# Usage: try_wheel.sh PYTHON   (the interpreter to make the environment with)
set -euo pipefail
cd "$(dirname "$0")/.."

python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

.venv/bin/uv build -q --out-dir "$folder/dist"
held=$(tar tzf "$folder"/dist/*.tar.gz)
for wanted in docs/format.md examples/tour/story.py migrations/env.py CHANGELOG.md; do
    grep -q "/$wanted\$" <<<"$held" || { echo "the sdist lacks $wanted" >&2; exit 1; }
done
# An index shows the README alone: a link to a file beside it would lead nowhere.
"$python" -m zipfile -e "$folder"/dist/*.whl "$folder/wheel"
if cat "$folder"/wheel/*.dist-info/METADATA | grep -nE '\]\((docs|examples|[A-Z]+\.md)|<picture'; then
    echo "the README links to what an index does not have" >&2
    exit 1
fi
"$python" -m venv "$folder/venv"
cp tools/tried_wheel.py "$folder"
wheel=$(echo "$folder"/dist/*.whl)
cd "$folder"
venv/bin/python -m pip install -qq "$wheel"
venv/bin/python tried_wheel.py
venv/bin/python -m pip install -qq "$wheel[cli]"
venv/bin/cmk --version
