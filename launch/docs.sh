#!/usr/bin/env bash
# Builds the documentation: launch/docs.sh [SPHINX OPTIONS]. Warnings are errors. The
# first start installs the tools, later ones need no network. The pages are then in
# docs/_build/html/index.html.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

ensure_environment docs docs
cd "$root"
"$root/.venv/docs/bin/python" -m sphinx -W --keep-going -q -b html \
    -d docs/_build/doctrees "$@" docs docs/_build/html
echo "docs: file://$root/docs/_build/html/index.html"
