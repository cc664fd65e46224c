"""The few machine instructions that numba lacks, as numba intrinsics.

This is the one module that imports numba when it is imported; ``jit`` does so at the
first call of a kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_SWAP = sys.byteorder == "big"  # frames are little-endian everywhere


def _instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], intrinsic(function))


def _integer_of(kind: Any) -> Any:
    return types.uint32 if kind.bitwidth == 32 else types.uint64


def _pointer(context: Any, builder: Any, array: Any, kind: Any, at: Any) -> Any:
    """Return the address of byte ``at``, as a pointer to an integer of kind's width."""
    data = context.make_array(array)(context, builder, kind[0]).data
    address = builder.gep(data, [at])
    return builder.bitcast(address, ir.IntType(kind[1]).as_pointer())


@_instruction
def load(typing: Any, frame: Any, at: Any, kind: Any) -> Any:
    """Return the little-endian number of type ``kind`` at byte ``at`` of ``frame``.

    Any alignment; the caller has checked that the bytes are inside.
    """
    number = kind.instance_type

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, frame, (args[0], number.bitwidth), args[1])
        word = builder.load(pointer, align=1)
        if _SWAP:
            word = builder.bswap(word)
        return builder.bitcast(word, context.get_value_type(number))

    return number(frame, at, kind), generate


@_instruction
def store(typing: Any, frame: Any, at: Any, value: Any) -> Any:
    """Write ``value`` at byte ``at``, little-endian, as wide as its type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, frame, (args[0], value.bitwidth), args[1])
        word = builder.bitcast(args[2], ir.IntType(value.bitwidth))
        if _SWAP:
            word = builder.bswap(word)
        builder.store(word, pointer, align=1)
        return context.get_dummy_value()

    return types.void(frame, at, value), generate


@_instruction
def magnitude(typing: Any, value: Any) -> Any:
    """Return the bit pattern of ``|value|``: ordered as the magnitudes, NaN on top."""
    word = _integer_of(value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width = ir.IntType(value.bitwidth)
        bits = builder.bitcast(args[0], width)
        return builder.and_(bits, ir.Constant(width, 2 ** (value.bitwidth - 1) - 1))

    return word(value), generate


@_instruction
def as_float(typing: Any, word: Any) -> Any:
    """Return the float32 or float64 with the bit pattern ``word``."""
    number = types.float32 if word.bitwidth == 32 else types.float64

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(number))

    return number(word), generate


@_instruction
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Return the number of zero bits below the lowest one of ``word``; word > 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@_instruction
def ones(typing: Any, word: Any) -> Any:
    """Return the number of one bits in ``word``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return word(word), generate
