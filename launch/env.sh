# Sourced by run.sh and test.sh: one thread a rank, and a Python that is new enough.
# A rank is the unit of parallelism; libraries that start a thread per core on every rank
# only make the ranks wait for each other. What the caller has set stays.

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
export MKL_NUM_THREADS="${MKL_NUM_THREADS:-1}"
export NUMBA_NUM_THREADS="${NUMBA_NUM_THREADS:-1}"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Prints the Python to make environments with: $PYTHON, or the first that is new enough.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        elif [ -n "${PYTHON:-}" ]; then
            break
        fi
    done
    {
        echo "psmpi: needs Python 3.11 or newer with its venv module;" \
            "found none as ${PYTHON:-python3, python3.13, python3.12 or python3.11}."
        echo "Install one, or say where it is: PYTHON=/path/to/python $0"
    } >&2
    return 2
}

# cpu_torch FOLDER: installs PyTorch without CUDA, whose wheel is a tenth as large. It has
# a version and an index of its own, which an extra in setup.cfg can't name. Where there
# is none, the package index decides, and its wheel for Linux brings CUDA.
torch="torch==2.13.0+cpu"
cpu_torch() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --retries 0 --timeout 15 \
        --index-url https://download.pytorch.org/whl/cpu "$torch" >/dev/null 2>&1 ||
        echo "psmpi: found no $torch; taking the package index's PyTorch" >&2
}

# ensure_environment NAME EXTRAS: makes .venv/NAME with psmpi[EXTRAS], unless it is there.
# The stamp is written last, so that an interrupted installation is done again.
ensure_environment() {
    local name="$1" extras="$2" folder="$root/.venv/$1" python wanted
    python="$(find_python)" || return
    wanted="$extras $({
        "$python" -VV
        cat "$root/setup.cfg" "$root/pyproject.toml"
    } | cksum)"
    mkdir -p "$root/.venv"
    # Every step is tied to the one before it: "set -e" is off where a caller asks for
    # this function's status.
    (
        if command -v flock >/dev/null; then
            flock 9 # another start may be installing
        fi
        if [ "$(cat "$folder/.stamp" 2>/dev/null)" = "$wanted" ]; then
            exit 0
        fi
        echo "psmpi: installing into .venv/$name (once) ..." >&2
        rm -f "$folder/.stamp" &&
            "$python" -m venv --clear "$folder" &&
            { [[ ",$extras," != *,test,* ]] || cpu_torch "$folder"; } &&
            "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
                --editable "$root[$extras]" >&2 &&
            "$folder/bin/psmpi" warmup >&2 &&
            echo "$wanted" >"$folder/.stamp"
    ) 9>"$root/.venv/lock"
}
