"""`python -m bench.cuda`: device='cuda' beside JAX on a GPU; writes cuda.md.

Whole calls from Python on arrays that are on the GPU already, 30 in a row and then a wait, the
least of four. First calls start from nothing compiled. JAX multiplies in full precision.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
from importlib.metadata import version

import numpy as np

import graphad as ga

SHAPES = ((8192, 1024), (64, 64))


def softmax(np, x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal(np, x):
    c = x - x.mean(axis=1, keepdims=True)
    return c / np.sqrt((c * c).mean(axis=1, keepdims=True) + 1e-5)


def chain(np, x):
    return np.tanh(x) * np.exp(-x * x) + np.sin(x) ** 3


def network(np, x):
    w = x[:1024, :1024]
    return np.tanh(np.tanh(x @ w) @ w).sum()


def rows(np, grad):
    """The jobs, written once for NumPy's names."""
    return {
        "chain": lambda x: chain(np, x),
        "chain, gradient": grad(lambda x: chain(np, x).sum()),
        "sum of squares": lambda x: (x * x).sum(),
        "column sums": lambda x: x.sum(axis=0),
        "softmax of rows": lambda x: softmax(np, x),
        "softmax of rows, gradient": grad(lambda x: (softmax(np, x) ** 2).sum()),
        "layer norm, gradient": grad(lambda x: (normal(np, x) ** 3).sum()),
        "transpose and add": lambda x: x.T + 1.0,
        "product": lambda x: x[:, :1024].T @ x[:, :1024],
        "network, gradient": grad(lambda x: network(np, x)),
    }


def timed(run, wait) -> float:
    """Microseconds of a call."""
    best = np.inf
    for _ in range(4):
        begin = time.perf_counter()
        for _ in range(30):
            run()
        wait()
        best = min(best, (time.perf_counter() - begin) / 30)
    return best * 1e6


def measured(name: str, ours, theirs, x) -> str:
    """One line of the table."""
    import jax
    from numba import cuda

    there, theirs_there = cuda.to_device(x), jax.device_put(x)
    f, g = ga.function(ours, device="cuda"), jax.jit(theirs)
    begin = time.perf_counter()
    got = f(there).copy_to_host()
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    want = np.asarray(g(theirs_there))
    their_first = time.perf_counter() - begin
    off = np.abs(got - want).max() / max(np.abs(want).max(), 1e-300)
    assert off < (1e-12 if x.dtype == np.float64 else 1e-4), (name, off)
    mine = timed(lambda: f(there), cuda.synchronize)
    other = timed(lambda: g(theirs_there), lambda: jax.block_until_ready(g(theirs_there)))
    size = " x ".join(map(str, x.shape))
    return (f"| {name}, {size} {x.dtype.str[1:]} | {mine:.0f} | {other:.0f} | {mine / other:.2f} "
            f"| {first:.2f} | {their_first:.2f} | {off:.0e} |")  # fmt: skip


def main():
    import jax
    import jax.numpy as jnp
    from numba import cuda

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    versions = ", ".join(f"{p} {version(p)}" for p in ("graphad", "numba-cuda", "jax", "numpy"))
    device = cuda.get_current_device().name
    device = device.decode() if isinstance(device, bytes) else device
    lines = [f"# On a GPU\n\nMeasured {time.strftime('%Y-%m-%d')} on one {device}: {versions}.\n",
             "| row | graphad, µs | JAX, µs | ratio | first call, s | JAX | difference |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for dtype in ("f8", "f4") if shape == SHAPES[0] else ("f8",):
            x = rng.normal(size=shape).astype(dtype)
            pairs = zip(rows(np, ga.grad).items(), rows(jnp, jax.grad).values(), strict=True)
            for (name, ours), theirs in pairs:
                lines.append(measured(name, ours, theirs, x))
                print(lines[-1], flush=True)
    pathlib.Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHAD_CACHE_DIR"] = folder
        main()
