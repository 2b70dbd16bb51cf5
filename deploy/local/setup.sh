#!/usr/bin/env bash
# Sets up the locked Python environment in .venv, with a pinned uv where the machine has none.
set -euo pipefail

readonly UV_VERSION=0.13.9  # installed where no uv is found
readonly OLDEST_UV=0.8      # as pyproject.toml asks for
cd "$(dirname "$0")/../.."
readonly OWN=.local/uv
mkdir -p .local
readonly LOG=.local/setup-uv.log

fail() {
    echo "setup: $1" >&2
    exit 1
}

is_new_enough() {
    local version
    version=$("$1" --version 2>>"$LOG" | awk '{ print $2 }') || return 1
    [[ -n $version && $(printf '%s\n' "$OLDEST_UV" "$version" | sort -V | head -n 1) == "$OLDEST_UV" ]]
}

# A bare Debian Python has neither venv nor pip; root can add them.
install_uv() {
    command -v python3 >/dev/null || fail "python3 is missing: install Python 3.11 or newer"
    echo "setup: installing uv $UV_VERSION into $OWN"
    into_venv || into_folder || { add_venv_package && into_venv; } ||
        fail "uv can't be installed ($LOG says why): install uv, or python3-venv, and try again"
}

into_venv() {
    rm -rf "$OWN"
    python3 -m venv "$OWN" >>"$LOG" 2>&1 &&
        "$OWN/bin/python" -m pip install --quiet "uv==$UV_VERSION" >>"$LOG" 2>&1
}

into_folder() {
    rm -rf "$OWN"
    python3 -m pip install --quiet --target "$OWN" "uv==$UV_VERSION" >>"$LOG" 2>&1
}

add_venv_package() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    { apt-get update && apt-get install --yes --no-install-recommends python3-venv; } >>"$LOG" 2>&1
}

uv=$(command -v uv || true)
if [[ -z $uv ]] || ! is_new_enough "$uv"; then
    uv=$OWN/bin/uv
    [[ -x $uv ]] || install_uv
fi

[[ -d .venv ]] || echo "setup: installing the locked Python environment into .venv"
"$uv" sync --frozen --quiet || fail "the locked Python environment can't be installed"
