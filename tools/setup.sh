#!/bin/sh
# Find a Python that suits and let it run tools/setup.py. `--find` only prints which one.
set -eu
cd "$(dirname "$0")/.."

if [ -n "${PYTHON:-}" ]; then
    set -- "${1:-}" "$PYTHON"
else
    # Nearly every run: the environment is there and current. -I -S: start in milliseconds.
    if [ -z "${1:-}" ] && [ -x .venv/bin/python ] &&
        .venv/bin/python -I -S tools/setup.py --check 2>/dev/null; then
        exit 0
    fi
    # The Python of the present environment stays in use until another one is named.
    set -- "${1:-}" .venv/bin/python python3.13 python3.12 python3.11 python3 python
fi
mode=$1
shift

# 0: suits; 3: the version does, but it cannot make environments (Debian packs that apart).
suits='import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(3)'
python=""
bare=""
for candidate in "$@"; do
    code=0
    "$candidate" -I -c "$suits" >/dev/null 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        python=$candidate
        break
    fi
    [ "$code" != 3 ] || bare=${bare:-$candidate}
done

if [ -z "$python" ]; then
    if [ -n "$bare" ]; then
        echo "set-up: $bare cannot make virtual environments: its venv and ensurepip modules are missing" >&2
        echo "  to do: install them (Debian, Ubuntu: apt-get install python3-venv)" >&2
    else
        echo "set-up: no Python 3.11, 3.12 or 3.13 found${PYTHON:+ at PYTHON=$PYTHON}" >&2
        echo "  to do: install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)" >&2
        echo "         or name it: make setup PYTHON=/path/to/python3" >&2
    fi
    exit 2
fi
if [ "$mode" = --find ]; then
    command -v "$python"
    exit 0
fi
exec "$python" -I tools/setup.py
