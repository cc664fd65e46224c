"""Numbers as text: three significant digits, decimal prefixes (1 kbit = 1000 bit)."""

from __future__ import annotations


def three(x: float) -> str:
    """Return ``x`` with three significant digits; no exponent below a million."""
    text = f"{x:#.3g}"
    return (f"{x:.0f}" if "e+" in text and abs(x) < 1e6 else text).rstrip(".")


def four(x: float) -> str:
    """Return ``x`` with four significant digits, for losses that differ by little."""
    return f"{x:#.4g}".rstrip(".")


def units(x: float, unit: str) -> str:
    """Return ``x`` with a decimal prefix of ``unit``: 1.94e7, bit -> 19.4 Mbit."""
    x = float(f"{x:.3g}")  # round first: 999.6 k must become 1.00 M, not 1000 k
    for prefix in ("", "k", "M", "G", "T"):
        if abs(x) < 1000:
            plain = not prefix and x == int(x)
            return f"{int(x) if plain else three(x)} {prefix}{unit}"
        x /= 1000
    return f"{three(x)} P{unit}"


def bits(x: float) -> str:
    """Return a number of bits as text."""
    return units(x, "bit")


def size(x: float) -> str:
    """Return a number of bytes as text."""
    return units(x, "B")


def seconds(x: float) -> str:
    """Return a duration, given in seconds, as text."""
    if x == 0:
        return "0 s"
    return f"{three(x)} s" if x >= 1 else f"{three(1000 * x)} ms"


def share(x: float) -> str:
    """Return a fraction in percent, with two significant digits."""
    percent = 100 * x
    if 0 < percent < 0.995:
        return f"{percent:.2g} %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def accuracy(x: float) -> str:
    """Return an accuracy in percent, with two decimal places as papers print it."""
    return f"{100 * x:.2f} %"


def times(x: float) -> str:
    """Return a ratio as text: 8.0 -> 8.00x."""
    return f"{three(x)}x"
