"""graphad: NumPy functions in, exact derivative kernels out.

>>> import numpy as np
>>> import graphad as ga
>>> ga.grad(lambda x: np.sin(x) ** 2)(0.5)
np.float64(0.8414709848078965)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import graphad.ops as _ops
from graphad import errors
from graphad.function import Function, function
from graphad.spec import Spec, spec
from graphad.trace.pytree import register_pytree
from graphad.transform.control import cond, fori_loop, scan, switch, while_loop
from graphad.transform.derivatives import (
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
from graphad.transform.external import external
from graphad.transform.parts import checkpoint, custom_derivative, cut, stop_gradient, tag

__version__ = "0.1.0"
__all__ = [
    "Function",
    "Spec",
    "checkpoint",
    "cond",
    "custom_derivative",
    "cut",
    "errors",
    "external",
    "fixed_point",
    "flows",
    "fori_loop",
    "from_sympy",
    "function",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jacobians",
    "jvp",
    "linalg",
    "odeint",
    "optim",
    "primitives",
    "random",
    "register_pytree",
    "root",
    "scan",
    "spec",
    "special",
    "stop_gradient",
    "switch",
    "tag",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]

from numpy import where as where  # not listed: np.where is the same

del _ops

if TYPE_CHECKING:
    from graphad import flows, linalg, optim, primitives, random, special
    from graphad.interop.sympy_in import from_sympy
    from graphad.transform.implicit import fixed_point, root
    from graphad.transform.ode import odeint

# Read at their first use: a program that takes gradients need not wait for them.
_MODULES = ("flows", "linalg", "optim", "primitives", "random", "special")
_HOMES = {
    "fixed_point": "transform.implicit",
    "from_sympy": "interop.sympy_in",
    "odeint": "transform.ode",
    "root": "transform.implicit",
}

_ELSEWHERE = {  # what other libraries call what is here
    "jit": "function", "njit": "function", "compile": "function", "jacfwd": "jacobian",
    "jacrev": "jacobian", "elementwise_grad": "grad", "value_and_gradient": "value_and_grad",
    "custom_jvp": "custom_derivative", "custom_vjp": "custom_derivative", "remat": "checkpoint",
    "primitive": "custom_derivative", "numpy": "function: write NumPy itself, import numpy as np,",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"graphad.{name}")
    if name in _HOMES:
        value = getattr(import_module(f"graphad.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    hint = f"; it is ga.{_ELSEWHERE[name]} here" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'graphad' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
