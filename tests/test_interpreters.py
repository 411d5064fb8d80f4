"""Interpreters whose objects the gate cannot read: calls go through Python, and it is said once."""

import os
import subprocess
import sys

import pytest

CONDITIONS = {
    "otherpython instead of CPython": "sys.implementation.name = 'otherpython'",
    "a build of Python without the global interpreter lock":
        "sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1",
    "a debug build of Python": "sysconfig.get_config_vars()['Py_TRACE_REFS'] = 1",
    "a Python of 32 bits": "sys.maxsize = 2**31 - 1",
    "tuples with another layout in memory": "from graphad.run import gate_source as s; s.ITEMS_AT = 0",
}  # fmt: skip
RUN = """\
import ctypes, sys, sysconfig, warnings
import numba, numpy as np, scipy.special, sympy, networkx
{condition}
import graphad as ga
from graphad.inspect.doctor import report
def f(x, y):
    return np.sin(x) * y, x @ x
g, captured = ga.function(f), np.ones(3)
h = ga.grad(lambda p: (p["a"] * captured).sum() * p["b"])
x = np.arange(3.0)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(4):
        a, b = g(x, 2.0)
        assert np.allclose(a, np.sin(x) * 2) and b == 5.0, (a, b)
        d = h({{"a": x, "b": 2.0}})
        assert d["a"].tolist() == [2.0] * 3 and d["b"] == 3.0, d
        out = np.empty(3), np.empty(())
        g(x, 2.0, out=out)
        assert np.allclose(out[0], a) and out[1] == b
    try:
        ga.function(lambda x, i: x[i])(x, np.array([5]))
    except IndexError as error:
        assert "<string>" in str(error), error
    else:
        raise AssertionError
njit = numba.njit(lambda x: g(x, 3.0)[0])(x)
assert np.allclose(njit, np.sin(x) * 3)
print(len(seen), seen[0].category.__name__, seen[0].filename, seen[0].lineno)
print(seen[0].message)
print(report())
"""


@pytest.mark.parametrize("reason", CONDITIONS)
def test_calls_go_through_python_where_the_gate_cannot(reason):
    script = RUN.format(condition=CONDITIONS[reason])
    line = next(k for k, text in enumerate(script.split("\n"), 1) if "a, b = g" in text)
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, message, *doctor = done.stdout.splitlines()
    assert said == f"1 SlowCalls <string> {line}"
    assert message.startswith("calls go through Python here") and message.endswith(reason)
    row = next(row for row in doctor if row.startswith("calls"))
    assert row.split(maxsplit=1)[1] == f"through Python: {reason}"
