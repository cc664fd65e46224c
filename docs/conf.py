"""Sphinx configuration: MyST pages, docstrings by autodoc, nothing from the network."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import psmpi  # noqa: E402

project = "psmpi"
author = copyright = "the psmpi authors"
version = release = psmpi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "options",
]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "markdown"}
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
# Large, and not needed to read the docstrings of what builds on them.
autodoc_mock_imports = ["torch", "jax"]

html_theme = "furo"
html_title = f"psmpi {release}"
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
