"""Numbers for people: three significant digits, decimal units (1 kbit = 1000 bit)."""

from __future__ import annotations


def three(x: float) -> str:
    """Return ``x`` with three significant digits, without an exponent if it can be."""
    text = f"{x:#.3g}"
    return (f"{x:.0f}" if "e+" in text and abs(x) < 1e6 else text).rstrip(".")


def four(x: float) -> str:
    """Return ``x`` with four significant digits: losses that differ by little."""
    return f"{x:#.4g}".rstrip(".")


def units(x: float, unit: str) -> str:
    """Return ``x`` in decimal multiples of a unit: 1.94e7, bit -> 19.4 Mbit."""
    x = float(f"{x:.3g}")  # first, so that 999.6 k is 1.00 M and not 1000 k
    for prefix in ("", "k", "M", "G", "T"):
        if abs(x) < 1000:
            plain = not prefix and x == int(x)
            return f"{int(x) if plain else three(x)} {prefix}{unit}"
        x /= 1000
    return f"{three(x)} P{unit}"


def bits(x: float) -> str:
    """Return a number of bits for people."""
    return units(x, "bit")


def size(x: float) -> str:
    """Return a number of bytes for people."""
    return units(x, "B")


def seconds(x: float) -> str:
    """Return a duration for people."""
    if x == 0:
        return "0 s"
    return f"{three(x)} s" if x >= 1 else f"{three(1000 * x)} ms"


def share(x: float) -> str:
    """Return a part of a whole in percent, with two figures of it."""
    percent = 100 * x
    if 0 < percent < 0.995:
        return f"{percent:.2g} %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def accuracy(x: float) -> str:
    """Return an accuracy in percent: two places, as papers give it."""
    return f"{100 * x:.2f} %"


def times(x: float) -> str:
    """Return a ratio: how many times as much."""
    return f"{three(x)}x"
