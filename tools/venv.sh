#!/usr/bin/env bash
# Make a virtual environment, or leave it alone when nothing has changed.
#
# Usage:  tools/venv.sh DIR PYTHON [REQUIREMENTS_FILE ...]
#
# PYTHON is a name for tools/find-python.sh.  DIR is made anew when it belongs
# to another interpreter (python3 is any, so it never does); the files are
# installed again when one has changed.  An environment that somebody else made
# is not touched.
set -eu -o pipefail

here=$(dirname "$0")
dir=${1:?usage: tools/venv.sh DIR PYTHON [REQUIREMENTS_FILE ...]}
name=${2:?a Python}
shift 2

if [[ -e $dir && ! -e $dir/.made-for ]]; then
    echo "venv: $dir was not made by this script; please remove it or name another" >&2
    exit 1
fi
made_for=$(cat "$dir/.made-for" 2> /dev/null || true)
"$dir/bin/python" -V > /dev/null 2>&1 || made_for=""

if [[ $name != python3 || -z $made_for ]]; then
    python=$("$here/find-python.sh" "$name")
    interpreter="$("$python" -VV) at $python"
    if [[ $made_for != "$interpreter" ]]; then
        echo "venv: $dir with $python"
        rm -rf "$dir"
        mkdir -p "$dir"
        echo "$interpreter" > "$dir/.made-for"
        "$python" -m venv "$dir"
    fi
fi

wanted="$(cat "$here"/../requirements/*.txt | cksum) $*"
if (($#)) && [[ $(cat "$dir/.requirements" 2> /dev/null) != "$wanted" ]]; then
    echo "venv: installing $*"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
        "${@/#/--requirement=}"
    echo "$wanted" > "$dir/.requirements"
fi
