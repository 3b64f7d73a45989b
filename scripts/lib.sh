# shellcheck shell=bash
# What the scripts beside this file share: where the checkout is, how its environment is made, how a command runs as
# root, how its output stays quiet until it fails. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly ROOT
readonly VENV=$ROOT/.venv
# dockerd, iptables and debootstrap live where an ordinary user's PATH does not look
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PIP_DISABLE_PIP_VERSION_CHECK=1

note() { printf '%s\n' "$*" >&2; }

die() {
    note "$*"
    exit 1
}

# quietly WHAT COMMAND…: runs the command; its output is shown only when it fails.
quietly() {
    local what=$1 log status=0
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
        note "$what failed (exit code $status)."
    fi
    rm -f "$log"
    return "$status"
}

may_be_root() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# start_time PID: a process id alone can be given to another process; with its start time it cannot.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# find_python: prints the first Python >= 3.11 that can make environments. PYTHON overrides the search.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    note "No Python >= 3.11 with the venv module was found (on Debian: apt-get install python3-venv); PYTHON names another."
    return 1
}

# What an environment was made from: it is made anew when this changes.
stamp_of() { # PYTHON FILE…
    local python=$1
    shift
    "$python" - "$@" <<'PYTHON'
import hashlib
import pathlib
import sys

content = b"".join(pathlib.Path(name).read_bytes() for name in sys.argv[1:])
print(sys.implementation.name, ".".join(map(str, sys.version_info[:3])), hashlib.sha256(content).hexdigest())
PYTHON
}

has_stamp() { # NAME STAMP
    [ -f "$VENV/.stamp-$1" ] && [ "$(cat "$VENV/.stamp-$1")" = "$2" ]
}

install_requirements() { # NAME FILE STAMP
    local -a only=()
    # what runs the service comes as wheels, so nothing is compiled; one development tool has no wheel
    [ "$1" != run ] || only=(--only-binary=:all:)
    quietly "Installing $(basename "$2")" \
        "$VENV/bin/python" -m pip install --quiet --require-hashes ${only[@]+"${only[@]}"} -r "$2" || return
    printf '%s\n' "$3" >"$VENV/.stamp-$1"
}

# What only some machines have wheels for; the rest works without it.
install_extra() { # NAME WHAT-IS-MISSING-WITHOUT-IT
    "$VENV/bin/python" -m pip install --quiet --require-hashes --only-binary=:all: -r "$ROOT/requirements-$1.txt" \
        >/dev/null 2>&1 || note "This machine cannot install requirements-$1.txt: $2."
}

# The project itself is not built, so that no build tool has to be fetched: the environment gets the checkout on its path.
link_project() {
    local site
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return
    printf '%s\n' "$ROOT" >"$site/watchtower-async-checkout.pth"
    printf '#!/bin/sh\nexec "%s" -P -m watchtower_async "$@"\n' "$VENV/bin/python" >"$VENV/bin/watchtower-async"
    chmod +x "$VENV/bin/watchtower-async"
}

make_environment() { # run|dev
    local python run dev
    python=$(find_python) || return
    run=$(stamp_of "$python" "$ROOT/requirements.txt" "$ROOT/requirements-notify.txt") || return
    dev=$(stamp_of "$python" "$ROOT/requirements-dev.txt") || return
    if ! has_stamp run "$run" || { [ -f "$VENV/.stamp-dev" ] && [ "$1" = dev ] && ! has_stamp dev "$dev"; }; then
        note "Making the environment .venv …"
        rm -rf "$VENV"
        quietly "Making .venv" "$python" -m venv "$VENV" || return
        install_requirements run "$ROOT/requirements.txt" "$run" || return
        install_extra notify "notifications cannot be sent, and compose files not be migrated"
    fi
    if [ "$1" = dev ] && ! has_stamp dev "$dev"; then
        note "Adding the development tools to .venv …"
        install_requirements dev "$ROOT/requirements-dev.txt" "$dev" || return
    fi
    link_project
}

# ensure_environment run|dev: .venv matches the pinned files and this Python afterwards. Safe to call concurrently.
ensure_environment() {
    (
        exec 8<"$ROOT/requirements.txt"
        flock 8
        make_environment "$1"
    )
}
