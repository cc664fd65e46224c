"""Lets papers' letters stand in docstrings: |x_i| and x* are no markup here.

reStructuredText reads ``|name|`` as a substitution and ``*`` as emphasis. Docstrings of
psmpi use neither, but norms, magnitudes and optima. This extension escapes both
characters before Sphinx parses a docstring, except in code.
"""

from __future__ import annotations

import re
from typing import Any

# In tables a backslash would move what stands behind it, so that the columns no longer
# fit; characters that look alike and mean nothing to the parser are as wide.
_ALIKE = {"|": "\N{DIVIDES}", "*": "\N{ASTERISK OPERATOR}"}
_ESCAPED = {"|": r"\|", "*": r"\*"}
_CODE = re.compile(r"(``.+?``)")
_BORDER = re.compile(r"=+( +=+)+$")


def escape(lines: list[str]) -> list[str]:
    r"""Return the lines of a docstring with | and * escaped, except in code.

    Code is what stands in double backticks, in an indented block behind a line that
    ends with two colons, and from a prompt ``>>>`` to the next empty line.

    >>> escape(["min |x*| of ``a | b``"])
    ['min \\|x\\*\\| of ``a | b``']
    """
    escaped = []
    code_indent: int | None = None  # of the line that began a literal block
    in_example = in_table = False
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if _BORDER.match(text):
            in_table = True
        elif not text:
            in_table = in_example = False
        elif text.startswith(">>>"):
            in_example = True
        if code_indent is not None and text and indent <= code_indent:
            code_indent = None
        if not (in_example or code_indent is not None):
            line = _prose(line, _ALIKE if in_table else _ESCAPED)
            if text.endswith("::"):
                code_indent = indent
        escaped.append(line)
    return escaped


def _prose(line: str, replacement: dict[str, str]) -> str:
    parts = _CODE.split(line)
    parts[::2] = ["".join(replacement.get(c, c) for c in part) for part in parts[::2]]
    return "".join(parts)


def _on_docstring(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = escape(lines)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; before napoleon, whose own markup must stay."""
    app.connect("autodoc-process-docstring", _on_docstring, priority=400)
    return {"parallel_read_safe": True}
