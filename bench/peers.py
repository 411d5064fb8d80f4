"""The peers, each in the form that its documentation recommends."""

from __future__ import annotations

import importlib
import itertools
import os
import pathlib
import subprocess
import sys
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).parent
PACKAGES = (
    "graphad",
    "numba",
    "llvmlite",
    "numpy",
    "jax",
    "torch",
    "casadi",
    "autograd",
    "diffrax",
    "zuko",
    "flowjax",
    "distrax",
)
# Older ones are other libraries under the same name: pip takes them in silence when pins clash.
OLDEST = {"jax": (0, 4, 30), "torch": (2, 13), "casadi": (3, 6), "autograd": (1, 7)}
PYTENSOR = HERE / ".pytensor"  # its pins clash with the newest Numba: an environment of its own


@cache
def module(name: str) -> Any:
    """A peer, or None where it is missing or too old."""
    if missing(name):
        return None
    found = importlib.import_module(name)
    if name == "jax":
        found.config.update("jax_enable_x64", True)
    if name == "torch":
        found.set_num_threads(threads())
    return found


def missing(name: str) -> str:
    """Why a peer is not used; empty if it is."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
    numbers = tuple(int(p) for p in version.split("+")[0].split(".")[:2] if p.isdigit())
    wanted = OLDEST.get(name, ())
    return f"{version} is too old" if numbers < wanted[:2] else ""


def versions() -> str:
    """Versions of graphad and its peers; a peer that is missing is named."""
    found = []
    for name in PACKAGES:
        problem = missing(name)
        found.append(f"{name} {problem or metadata.version(name)}")
    found.append("pytensor " + (pytensor_version() or "missing (python -m bench.pytensor_peer)"))
    return ", ".join(found)


def pytensor_version() -> str:
    """PyTensor's version in its own environment; empty without one."""
    python = PYTENSOR / "bin" / "python"
    if not python.exists():
        return ""
    code = "import pytensor; print(pytensor.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip()


def threads() -> int:
    """How many threads everybody may use."""
    return int(os.environ.get("GRAPHAD_NUM_THREADS") or len(os.sched_getaffinity(0)))


def one_thread() -> None:
    """Start this process again with one core for everybody."""
    if os.environ.get("GRAPHAD_NUM_THREADS") == "1":
        return
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    environment = os.environ | {
        "GRAPHAD_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1", "XLA_FLAGS": flags,
    }  # fmt: skip
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], environment)


def jax_job(f, *args):
    """A jitted function on device arrays, waited for."""
    jax = module("jax")
    compiled = jax.jit(f)
    on_device = jax.tree.map(jax.numpy.asarray, args)
    return lambda: jax.block_until_ready(compiled(*on_device))


def torch_tensors(*args, grad=False):
    """The same arrays as torch's tensors."""
    torch = module("torch")
    tensors = [torch.from_numpy(a.copy()) for a in args]
    return [t.requires_grad_() for t in tensors] if grad else tensors


def torch_value(f, *args):
    """Jobs of a function, eager and compiled."""
    torch = module("torch")
    tensors = torch_tensors(*args)
    compiled = torch.compile(f, dynamic=False)
    return {"torch": lambda: f(*tensors), "torch compiled": lambda: compiled(*tensors)}


def torch_gradient(f, *args):
    """Jobs of a value and its gradients in every argument, eager and compiled."""
    torch = module("torch")
    tensors = torch_tensors(*args, grad=True)

    def run(g):
        value = g(*tensors)
        # An expanded view is no array: everybody hands back memory of its own.
        return value.detach(), [g.contiguous() for g in torch.autograd.grad(value, tensors)]

    compiled = torch.compile(f, dynamic=False)
    return {"torch": lambda: run(f), "torch compiled": lambda: run(compiled)}


def products_alone(batch: int, sizes, times: int = 1, backward: bool = True, inputs: bool = False):
    """The float32 matrix products of a network by NumPy, some times over: of its value, and
    `backward` of its gradient, with respect to its `inputs` too."""
    rng, layers = np.random.default_rng(0), []
    for a, b in itertools.pairwise(sizes):
        x, w, ct = (rng.normal(size=s).astype("f4") for s in ((batch, a), (a, b), (batch, b)))
        layers.append((x, w, ct, np.empty_like(ct), np.empty_like(x), np.empty_like(w)))

    def run():
        for _ in range(times):
            for k, (x, w, ct, y, back, g) in enumerate(layers):
                np.dot(x, w, out=y)
                if backward:
                    np.dot(x.T, ct, out=g)
                    if k or inputs:
                        np.dot(ct, w.T, out=back)

    return run


def optax_step(log_prob, params, x):
    """A training step of a JAX density: loss, gradient, Adam by optax, in one jitted function."""
    jax = module("jax")
    import optax

    adam = optax.adam(1e-3)

    @jax.jit
    def step(params, state, x):
        loss, g = jax.value_and_grad(lambda p: -log_prob(p, x).mean())(params)
        updates, state = adam.update(g, state, params)
        return loss, optax.apply_updates(params, updates), state

    kept = [params, adam.init(params)]

    def run():
        loss, *kept[:] = step(*kept, x)
        return jax.block_until_ready(loss)

    return run
