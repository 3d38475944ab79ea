#!/usr/bin/env bash
# Everything that has to hold, on every Python: `make test`.
#
# Usage:  tools/test.sh PYTHON ...       e.g. python3.11 python3.12 python3.13
#
# Runs every step even when an earlier one failed; each is a make target or a
# pytest run, so that it can be repeated alone.  Ends with the time of each step
# and pytest's closing lines, and fails when a step failed.  What the steps
# printed is kept in build/log.
set -u -o pipefail
cd "$(dirname "$0")/.."

# On every interpreter; and, since they look at the source, only on the last.
SUITES="tests/unit tests/acceptance tests/ecosystem tests/leaks tests/conformance"
SUITES_ONCE="tests/house tests/packaging tests/benchmarks"
LIMIT_S=2400                            # for one step

# What a shell runs in the background ignores SIGINT, and so does all that it starts; tests
# send it.
HEED_CTRL_C='import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])'

pythons=("$@")
((${#pythons[@]})) || { echo "usage: tools/test.sh PYTHON ..." >&2; exit 2; }
log=$PWD/build/log
rm -rf "$log" && mkdir -p "$log"
table="" closing="" failed=""

# begin NAME COMMAND ... - start a step; what it prints goes into its log.  `timeout`
# limits it, and gives it a process group of its own, so that what it leaves behind
# is ended too.
begin() {
    local name=$1 out=$log/$1.txt
    shift
    printf '\n=== %s: %s\n' "$name" "$*" > "$out"
    (
        "$any" -c "$HEED_CTRL_C" timeout --kill-after=10 $LIMIT_S "$@" < /dev/null >> "$out" 2>&1 &
        group=$!
        trap 'kill -- -$group 2> /dev/null' TERM
        start=$SECONDS
        wait $group && status=ok || status=FAILED
        kill -- -$group 2> /dev/null && echo "=== $name left processes behind; they were ended" >> "$out"
        echo "$status $((SECONDS - start))" > "$log/$name.result"
    ) &
    running[$name]=$!
}

# finish NAME - show what a step prints until it ends, and remember how it ended.
finish() {
    local name=$1 out=$log/$1.txt status=FAILED took=0 last
    tail -n +1 --sleep-interval=0.3 --follow --pid="${running[$name]}" "$out"
    wait "${running[$name]}"
    unset "running[$name]"
    read -r status took < "$log/$name.result"
    [[ $status == ok ]] || failed+=" $name"
    table+=$(printf '%-20s %-6s %4d s' "$name" "$status" "$took")$'\n'
    last=$(grep -E '^=+ .* in [0-9.]+s.* =+$' "$out" | tail -n 1)
    [[ -z $last ]] || closing+="$name"$'\n'"$last"$'\n'
}

step() {
    begin "$@"
    finish "$1"
}
declare -A running=()
trap '((${#running[@]})) && kill "${running[@]}"; exit 130' INT TERM

missing=""
for python in "${pythons[@]}"; do
    found=$(tools/find-python.sh "$python") || missing+=" $python"
    echo "$python: $found"
done
if [[ -n $missing ]]; then
    echo "cannot test without:$missing (make test PYTHONS=... chooses others)" >&2
    exit 1
fi
newest=${pythons[-1]}
any=$found

M="make --no-print-directory"
step lint $M lint
step shape $M shape
step layers $M layers
step ctest $M ctest
step ctest-asan $M asan
step ctest-tsan $M tsan
for python in "${pythons[@]}"; do
    name=${python//\//-}
    step "install-${name#-}" $M venv PYTHON="$python" "VENV=build/venv/${name#-}" FRESH=1
done

# Two at a time: most of a test is waiting.
queue=()
pooled() {
    if ((${#queue[@]} == 2)); then
        finish "${queue[0]}"
        queue=("${queue[1]}")
    fi
    begin "$@"
    queue+=("$1")
}
for python in "${pythons[@]}"; do
    suites=$SUITES
    [[ $python != "$newest" ]] || suites="$SUITES $SUITES_ONCE"
    name=${python//\//-}
    pooled "pytest-${name#-}" $M pytest "VENV=build/venv/${name#-}" SUITES="$suites"
done
pooled "pytest-sanitized" $M sanitized PYTHON="$newest"
for name in "${queue[@]}"; do
    finish "$name"
done
for python in "${pythons[@]}"; do
    name=${python//\//-}
    step "stubtest-${name#-}" $M stubtest "VENV=build/venv/${name#-}"
done
step "docs" $M docs PYTHON="$newest"

printf '\n=== times\n%s' "$table"
printf '\n=== closing lines of pytest\n%s' "$closing"
if [[ -n $failed ]]; then
    printf '\nFAILED:%s\n' "$failed"
    exit 1
fi
