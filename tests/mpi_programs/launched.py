"""A rank of psmpi launch: launched.py OUT SCRIPT ARGS, SCRIPT one of this folder."""

import sys
from pathlib import Path

from psmpi.sessions import program

out, script, *arguments = sys.argv[1:]
program.main([out, "new", str(Path(__file__).parent / script), *arguments])
