"""PyTensor in an environment of its own: `python -m bench.pytensor_peer` makes it, with pip.

Run by that environment's Python, this file is a worker: it reads `row rounds` lines and answers
with seconds a call.
"""

from __future__ import annotations

import subprocess
import sys
import time
import venv


def install() -> None:
    """Make the environment beside this file."""
    from bench.peers import PYTENSOR

    venv.create(PYTENSOR, with_pip=True)
    subprocess.run([PYTENSOR / "bin" / "pip", "install", "pytensor>=3.0"], check=True)


class Worker:
    """The other side: a process that measures PyTensor's rows when asked."""

    def __init__(self):
        from bench.peers import PYTENSOR

        self.process = subprocess.Popen(
            [PYTENSOR / "bin" / "python", __file__, "--serve"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def seconds(self, row: str, count: int) -> float | None:
        """Seconds a call of a row, the best of `count`; None where PyTensor has no such row."""
        assert self.process.stdin and self.process.stdout
        print(row, count, sep="\t", file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        return float(answer) if answer and answer != "none" else None


def rows():
    """Row name -> a compiled PyTensor function and its arguments, made when first asked for."""
    import numpy as np
    import pytensor
    import pytensor.tensor as pt

    rng = np.random.default_rng(0)

    def chain(n, dtype, gradient):
        x = pt.vector("x", dtype={"f8": "float64", "f4": "float32"}[dtype])
        y = pt.tanh(x) * pt.exp(-x * x) + pt.log1p(pt.exp(x))
        out = [y.sum(), pytensor.grad(y.sum(), x)] if gradient else y
        array = np.random.default_rng(0).normal(size=n).astype(dtype)
        return pytensor.function([x], out, mode="NUMBA", trust_input=True), (array,)

    def rosenbrock():
        x = pt.vector("x", dtype="float64")
        y = (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
        hessian = pytensor.gradient.hessian(y, x)
        return pytensor.function([x], hessian, mode="NUMBA"), (np.linspace(-1, 1, 10),)

    def softmax(dtype):
        x = pt.matrix("x", dtype={"f8": "float64", "f4": "float32"}[dtype])
        y = (pt.special.softmax(x, axis=-1) ** 2).sum()
        array = rng.normal(size=(1000, 1000)).astype(dtype)
        return pytensor.function([x], [y, pytensor.grad(y, x)], mode="NUMBA"), (array,)

    found = {"Hessian of Rosenbrock, 10 dims": rosenbrock}
    for dtype in ("f8", "f4"):
        found[f"softmax with gradient, {dtype}"] = lambda t=dtype: softmax(t)
        for n in (1_000, 1_000_000):
            found[f"chain, {n:,} {dtype}"] = lambda n=n, t=dtype: chain(n, t, False)
            found[f"chain with gradient, {n:,} {dtype}"] = lambda n=n, t=dtype: chain(n, t, True)
    return found


def serve() -> None:
    """Answer until the other side goes away."""
    known, made = rows(), {}
    for line in sys.stdin:
        name, count = line.rstrip("\n").split("\t")
        if name not in known:
            print("none", flush=True)
            continue
        if name not in made:
            f, args = made[name] = known[name]()
            f(*args)
        f, args = made[name]
        best = float("inf")
        for _ in range(int(count)):
            start = time.perf_counter()
            f(*args)
            best = min(best, time.perf_counter() - start)
        print(best, flush=True)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        install()
