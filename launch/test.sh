#!/usr/bin/env bash
# Checks everything: style, types, docs, all tests under Open MPI, the MPI tests under
# MPICH. Arguments go to pytest. $PSMPI_DATA is used where it is set. With
# PSMPI_TEST_MPI=mpich or =openmpi, everything runs under that library alone. Ends with
# pytest's own summary, and with a status that is not 0 if anything failed.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

read -ra libraries <<<"${PSMPI_TEST_MPI:-openmpi mpich}"
models=",models"  # PyTorch and JAX, for the first library alone
for library in "${libraries[@]}"; do
    ensure_environment "$library" "$library,test,docs$models"
    models=""
done

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

first="$root/.venv/${libraries[0]}/bin" chosen="$*"
check "$first/ruff" check .
check "$first/ruff" format --check .
check "$first/mypy"
# Tests that start ranks have the machine to themselves; the others share its cores.
check tests "$first/pytest" -m "not mpi" --numprocesses auto "$@"
# No doctest starts ranks, and the second library has no PyTorch to import.
for library in "${libraries[@]}"; do
    check tests "$root/.venv/$library/bin/pytest" -m mpi \
        --override-ini testpaths=tests --ignore=tests/helpers "$@"
done
[ -z "$failed" ]
