"""The table: importing this module declares every operation."""

from graphad.ops import (
    array,
    control,
    linalg,
    numpy_math,
    numpy_products,
    numpy_shape,
    reduce,
    rounding,
    scalar,
    special,
)

__all__ = [
    "array",
    "control",
    "linalg",
    "numpy_math",
    "numpy_products",
    "numpy_shape",
    "reduce",
    "rounding",
    "scalar",
    "special",
]
