"""graphad: NumPy functions in, exact derivative kernels out.

>>> import numpy as np
>>> import graphad as ga
>>> ga.grad(lambda x: np.sin(x) ** 2)(0.5)
np.float64(0.8414709848078965)
"""

import graphad.ops as _ops
from graphad import optim
from graphad.derivatives import (
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jacobians,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)
from graphad.function import Function, function
from graphad.interop.sympy_in import from_sympy
from graphad.parts import checkpoint, custom_derivative, cut, stop_gradient, tag
from graphad.spec import Spec, spec
from graphad.trace.pytree import register_pytree

__version__ = "0.1.0"
__all__ = [
    "checkpoint",
    "custom_derivative",
    "cut",
    "from_sympy",
    "optim",
    "stop_gradient",
    "tag",
    "where",
    "Function",
    "Spec",
    "function",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jacobians",
    "jvp",
    "register_pytree",
    "spec",
    "value_and_grad",
    "vjp",
    "vmap",
]

from numpy import where

del _ops
