"""The table: importing this module declares every operation."""

from graphad.ops import (
    array,
    control,
    linalg,
    numpy_joins,
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
    "linalg",
    "numpy_joins",
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
