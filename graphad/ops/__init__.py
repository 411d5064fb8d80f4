"""The table: importing this module declares every operation."""

from graphad.ops import (
    array,
    control,
    factor,
    linalg,
    numpy_joins,
    numpy_linalg,
    numpy_math,
    numpy_order,
    numpy_products,
    numpy_shape,
    numpy_stats,
    reduce,
    rounding,
    scalar,
    sorting,
    special,
)

__all__ = [
    "array",
    "control",
    "factor",
    "linalg",
    "numpy_joins",
    "numpy_linalg",
    "numpy_math",
    "numpy_order",
    "numpy_products",
    "numpy_shape",
    "numpy_stats",
    "reduce",
    "rounding",
    "scalar",
    "sorting",
    "special",
]
