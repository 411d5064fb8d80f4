"""What this installation stands on, for bug reports."""

from __future__ import annotations

import os
import platform
from typing import Any


def report() -> str:
    """Versions, BLAS, threads, cache folder and CPU features, a line each."""
    import llvmlite
    import networkx
    import numba
    import numpy
    import scipy
    import sympy

    import graphad
    from graphad.compile import cache
    from graphad.emit.target import host
    from graphad.run.gate import why_not
    from graphad.run.image import threads_for

    folder = cache.folder()
    has = host().features.split(",")
    known = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon")
    features = [n for n in known if f"+{n}" in has and f"-{n}" not in has]
    config: Any = scipy.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    rows = {
        "graphad": graphad.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "numba": f"{numba.__version__} (llvmlite {llvmlite.__version__})",
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "sympy": sympy.__version__,
        "networkx": networkx.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')} (through scipy)",
        "threads": f"{threads_for('auto')} for long loops, of {os.cpu_count()} cores",
        "calls": f"through Python: {why_not()}" if why_not() else "native",
        "CPU": f"{host().cpu}: {', '.join(features)}; vectors of {host().bits} bits",
        "GPU": _gpu(),
        "cache": f"{folder} ({_kept()})" if folder else "none: memory only",
    }
    width = max(map(len, rows))
    return "\n".join(f"{k:<{width}}  {v}" for k, v in rows.items())


def _kept() -> str:
    """What is kept on disk, and how much may be."""
    from graphad.compile import cache

    files = cache.listed()
    size, most = sum(s for _, s in files) / 2**20, cache.limit() / 2**20
    return f"{len(files)} files, {size:.0f} of {most:.0f} MiB"


def _gpu() -> str:
    """The GPU at hand, and what its programs need."""
    from graphad.compile import cuda
    from graphad.errors import NoDeviceError
    from graphad.run.device import cublas

    try:
        package = cuda.package()
    except NoDeviceError:
        return "numba-cuda is not installed"
    if cuda.simulated() or not package.is_available():
        return "simulated by Numba" if cuda.simulated() else "none"
    device = package.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    products = "cuBLAS" if cublas.library() is not None else "no cuBLAS: products are slow"
    return f"{name}, compute capability {'.'.join(map(str, device.compute_capability))}, {products}"
