#!/bin/sh
# Make .venv from requirements.lock. Quick when nothing changed, whole or absent when interrupted.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "make: $1" >&2
    echo "  to do: $2" >&2
    exit 2
}

command -v git >/dev/null 2>&1 || fail "git is missing" "install it (Debian: apt-get install git)"

# A Python of the right version: $PYTHON, else the newest that is there.
suits='import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))'
python=""
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$suits" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no Python 3.11, 3.12 or 3.13 found${PYTHON:+ at PYTHON=$PYTHON}" \
    "install one (Debian: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3"

wanted=$("$python" -c 'import hashlib, os, sys
parts = [sys.version, os.getcwd()] + [open(f).read() for f in ("requirements.lock", "pyproject.toml")]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest())')
stamp=.venv/opslib-setup
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
# An environment of another Python, or of another folder, is made anew.
made="$("$python" -c 'import sys; print(sys.version.replace(chr(10), " "))') $(pwd)"
if [ "$(cat .venv/opslib-made 2>/dev/null)" != "$made" ]; then
    rm -rf .venv
fi
rm -f "$stamp"
"$python" -m venv --help >/dev/null 2>&1 && "$python" -c 'import ensurepip' >/dev/null 2>&1 ||
    fail "this Python cannot make virtual environments" "Debian: apt-get install python3-venv"
if [ ! -x .venv/bin/pip ]; then
    "$python" -m venv .venv
    echo "$made" >.venv/opslib-made
fi

log=.venv/setup.log
: >"$log"

# step LABEL COMMAND...: run it with its noise in the log and a line now and then.
step() {
    label=$1
    shift
    "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null; exit 130' INT TERM
    seconds=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ -t 2 ]; then
            printf '\r%s … %ss ' "$label" "$seconds" >&2
        elif [ $((seconds % 15)) -eq 2 ]; then
            echo "$label … ${seconds}s" >&2
        fi
    done
    trap - INT TERM
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if ! wait "$pid"; then
        tail -n 15 "$log" >&2
        fail "$label failed" "the whole output is in $log; with a mirror of the package index, set PIP_INDEX_URL"
    fi
}

step "installing locked packages (about 3 minutes, once)" \
    .venv/bin/pip install --disable-pip-version-check --require-hashes -r requirements.lock
step "installing opslib" \
    .venv/bin/pip install --disable-pip-version-check --no-deps --no-build-isolation --no-index \
    --config-settings editable_mode=compat -e .
echo "$wanted" >"$stamp"
echo "set up: .venv" >&2
