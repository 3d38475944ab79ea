#!/usr/bin/env bash
# Print the path of an interpreter.
#
# Usage:  tools/find-python.sh NAME      NAME: python3.12, python3, or a path
#
# NAME is looked for on PATH, then among pyenv's versions, then python3 is taken
# if it is of that version; python3 itself may be any that is new enough.  One that has everything (headers, venv, and the
# standard library's own test suite, which the conformance tests run) is
# preferred to one that can only build.  Fails with one line when there is none.
set -eu -o pipefail

name=${1:?usage: tools/find-python.sh NAME}
version=${name#python}                  # 3.12 or 3; of a path or another name: no version

# Paths to try, best first.  Other versions may be among them.
candidates() {
    local pyenv have
    type -ap "$name" || true
    for pyenv in "$(command -v pyenv || true)" ~/.pyenv/bin/pyenv; do
        [[ -x $pyenv && $version == 3* ]] || continue
        for have in $("$pyenv" versions --bare | grep -E "^${version//./\\.}\.[0-9.]+$" | sort -rV); do
            echo "$("$pyenv" prefix "$have")/bin/python"
        done
    done
    if [[ $version == 3* ]]; then
        type -ap python3 python3.13 python3.12 python3.11 || true
    fi
}

# The interpreter's own path if it is CPython >= 3.11, of the version asked for,
# and has what $2 says; a pyenv shim without a version behind it fails here.
accept() {
    "$1" -I - "$version" "$2" 2>/dev/null <<'PYTHON'
import importlib.util, os, re, sys, sysconfig

version, what = sys.argv[1:]
if re.fullmatch(r"3\.\d+", version) and version != "%d.%d" % sys.version_info[:2]:
    sys.exit(1)
if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
    sys.exit(1)
if what != "any":
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header) or not importlib.util.find_spec("ensurepip"):
        sys.exit(1)
if what == "all" and not importlib.util.find_spec("test.test_asyncio"):
    sys.exit(1)
print(sys.executable)
PYTHON
}

found=$(candidates)
for what in all build any; do
    while read -r candidate; do
        if [[ -n $candidate ]] && accept "$candidate" "$what"; then
            exit 0
        fi
    done <<< "$found"
done
echo "no usable $name: not on PATH, not in pyenv, and python3 is another one" \
     "(CPython 3.11 or newer is needed)" >&2
exit 1
