"""Scalar functions that kernels call: SciPy's own, and ours in the kernel language.

SciPy's are those of `scipy.special.cython_special`, at the addresses that it exports; ours are
compiled once each and found by their symbol, like the reductions. All take and give f64.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import itertools
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphad.compile.address import Address

# Our name: SciPy's, and the number of arguments.
SCIPY = {
    "gamma": ("__pyx_fuse_1gamma", 1), "gammaln": ("gammaln", 1), "digamma": ("__pyx_fuse_1psi", 1),
    "beta": ("beta", 2), "betaln": ("betaln", 2), "betainc": ("__pyx_fuse_0betainc", 3),
    "gammainc": ("gammainc", 2), "gammaincc": ("gammaincc", 2),
    "erfinv": ("__pyx_fuse_0erfinv", 1), "erfcinv": ("erfcinv", 1), "ndtri": ("ndtri", 1),
    "log_ndtr": ("__pyx_fuse_1log_ndtr", 1), "i0": ("i0", 1), "i1": ("i1", 1), "i0e": ("i0e", 1),
    "i1e": ("i1e", 1), "j0": ("j0", 1), "j1": ("j1", 1),
}  # fmt: skip

# The Hurwitz zeta function by the Euler-Maclaurin formula (H. M. Edwards, Riemann's Zeta Function,
# 6.4): nine terms of the sum, then the integral and twelve corrections, whose coefficients are
# (2k)! / B_2k.
_ZETA = """\
def function(x: f8, q: f8) -> f8:
    if x == 1.0:
        return np.inf
    if (x < 1.0) | (x != x) | (q != q):
        return np.nan
    if q <= 0.0:
        if q == floor_f8(q):
            return np.inf
        if x != floor_f8(x):
            return np.nan
    if q > 1e8:
        return (1.0 / (x - 1.0) + 1.0 / (2.0 * q)) * pow_f8(q, 1.0 - x)
    s = pow_f8(q, -x)
    a = q
    i = 0
    b = f8(0.0)
    while (i < 9) | (a <= 9.0):
        i = i + 1
        a = a + 1.0
        b = pow_f8(a, -x)
        s = s + b
        if abs(b) < abs(s) * 1.11e-16:
            return s
    w = a
    s = s + b * w / (x - 1.0) - 0.5 * b
    a = f8(1.0)
    k = f8(0.0)
{steps}
    return s
"""
_ZETA_STEP = """\
    a = a * (x + k)
    b = b / w
    t = a * b / f8({c})
    s = s + t
    if abs(t) < abs(s) * 1.11e-16:
        return s
    a = a * (x + k + 1.0)
    b = b / w
    k = k + 2.0
"""
_CORRECTIONS = (
    12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9,
    7.47242496e10, -2.950130727918164224e12, 1.1646782814350067249e14,
    -4.5979787224074726105e15, 1.8152105401943546773e17, -7.1661652561756670113e18,
)  # fmt: skip

# d/da of the regularised lower incomplete gamma function. Below a + 1 the power series
# (NIST DLMF 8.7.1), above the continued fraction of the upper function (DLMF 8.9.2) by Lentz's
# method (W. J. Lentz, Appl. Opt. 15, 1976); either with its derivative carried along.
_GAMMAINC_DA = """\
def function(a: f8, x: f8) -> f8:
    if (a != a) | (x != x) | (a <= 0.0) | (x < 0.0):
        return np.nan
    if (x == 0.0) | (x == np.inf):
        return 0.0
    lead = exp_f8(a * log_f8(x) - x - special_gammaln(a))
    slope = log_f8(x) - special_digamma(a)
    n = 0
    if x < a + 1.0:
        term = 1.0 / a
        dterm = -term / a
        total = term
        dtotal = dterm
        k = a
        while n < 100000:
            k = k + 1.0
            dterm = (dterm - term / k) * x / k
            term = term * x / k
            total = total + term
            dtotal = dtotal + dterm
            n = n + 1
            if (term < total * 1e-17) & (abs(dterm) < abs(dtotal) * 1e-17):
                break
        return lead * (total * slope + dtotal)
    b = x + 1.0 - a
    c = f8(1e300)
    dc = f8(0.0)
    d = 1.0 / b
    dd = d * d
    h = d
    dh = dd
    i = f8(0.0)
    while n < 100000:
        i = i + 1.0
        u = i * (a - i)
        b = b + 2.0
        v = u * d + b
        dv = i * d + u * dd - 1.0
        d = 1.0 / v
        dd = -dv * d * d
        w = b + u / c
        dc = -1.0 + (i - u * dc / c) / c
        c = w
        e = d * c
        de = dd * c + d * dc
        dh = dh * e + h * de
        h = h * e
        n = n + 1
        if (abs(e - 1.0) < 1e-16) & (abs(de) * abs(h) < abs(dh) * 1e-16):
            break
    return -lead * (h * slope + dh)
"""

# d/da (or d/db) of the regularised incomplete beta function: its continued fraction (DLMF
# 8.17.22) by Lentz's method with the derivative carried along; beyond the mean that of
# I_x(a, b) = 1 - I_(1-x)(b, a).
# One term u of the fraction, and its derivative du.
_LENTZ = """\
        v = 1.0 + u * d
        dv = du * d + u * dd
        d = 1.0 / v
        dd = -dv * d * d
        w = 1.0 + u / c
        dc = (du - u * dc / c) / c
        c = w
        e = d * c
        de = dd * c + d * dc
        dh = dh * e + h * de
        h = h * e
"""
_BETAINC_D = """\
def function(a: f8, b: f8, x: f8) -> f8:
    if (a != a) | (b != b) | (x != x) | (a <= 0.0) | (b <= 0.0) | (x < 0.0) | (x > 1.0):
        return np.nan
    if (x == 0.0) | (x == 1.0):
        return 0.0
    turned = x > (a + 1.0) / (a + b + 2.0)
    p = b if turned else a
    q = a if turned else b
    z = 1.0 - x if turned else x
    first = {first}
    dp = f8(1.0) if first else f8(0.0)
    dq = f8(0.0) if first else f8(1.0)
    lz = log1p_f8(-x) if turned else log_f8(x)
    lr = log_f8(x) if turned else log1p_f8(-x)
    lead = exp_f8(p * lz + q * lr - special_betaln(p, q))
    both = special_digamma(p + q)
    slope = (lz - special_digamma(p) + both) if first else (lr - special_digamma(q) + both)
    s = p + q
    c = f8(1.0)
    dc = f8(0.0)
    g = 1.0 - s * z / (p + 1.0)
    dg = -z * (1.0 / (p + 1.0) - dp * s / ((p + 1.0) * (p + 1.0)))
    d = 1.0 / g
    dd = -dg * d * d
    h = d
    dh = dd
    n = 0
    m = f8(0.0)
    while n < 100000:
        m = m + 1.0
        t = p + 2.0 * m
        r = (t - 1.0) * t
        dr = dp * (2.0 * t - 1.0)
        u = m * (q - m) * z / r
        du = m * dq * z / r - u * dr / r
{lentz}        r = t * (t + 1.0)
        dr = dp * (2.0 * t + 1.0)
        u = -(p + m) * (s + m) * z / r
        du = -(dp * (s + m) + p + m) * z / r - u * dr / r
{lentz}        n = n + 1
        if (abs(e - 1.0) < 1e-16) & (abs(de) * abs(h) <= abs(dh) * 1e-16):
            break
    out = lead * (h * (slope - dp / p) + dh) / p
    return -out if turned else out
"""

OURS = {
    "zeta": _ZETA.format(steps="".join(_ZETA_STEP.format(c=c) for c in _CORRECTIONS)),
    "gammainc_da": _GAMMAINC_DA,
    "betainc_da": _BETAINC_D.format(first="not turned", lentz=_LENTZ),
    "betainc_db": _BETAINC_D.format(first="turned", lentz=_LENTZ),
}
LAPACK = {
    "potrf": 5,
    "trsm": 11,
    "getrf": 6,
    "syevd": 11,
    "geev": 14,
    "geqrf": 8,
    "orgqr": 9,
    "gesdd": 14,
}
ARITY = {name: count for name, (_, count) in SCIPY.items()} | {
    "zeta": 2, "gammainc_da": 2, "betainc_da": 3, "betainc_db": 3,
}  # fmt: skip


def lapack_symbol(name: str) -> str:
    """What kernels call a function of BLAS or LAPACK."""
    return f"graphad_lapack_{name}"


@lru_cache(maxsize=64)
def lapack_address(name: str) -> int:
    """The address of SciPy's function of BLAS or LAPACK."""
    module = cython("cython_blas" if name[1:] in ("trsm", "gemm") else "cython_lapack")
    return Address(capsule_address(module.__pyx_capi__[name]), "lapack", name)


@lru_cache(maxsize=1)
def blas_threads() -> tuple[int, int]:
    """Addresses of the functions that get and set how many threads SciPy's BLAS uses; zeros for a
    BLAS that has none that we know. They are looked up in the libraries that SciPy's module needs:
    NumPy may have brought a BLAS of its own under the same names."""
    library = ctypes.CDLL(cython("cython_blas").__file__)
    names = [(f"{p}openblas_get_num_threads{s}", f"{p}openblas_set_num_threads{s}")
             for p, s in itertools.product(("scipy_", ""), ("", "64_", "_64"))]  # fmt: skip
    for pair in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
        functions = [getattr(library, name, None) for name in pair]
        if all(functions):
            get, put = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions)  # type: ignore
            return Address(get, "blas", 0), Address(put, "blas", 1)
    return 0, 0


@lru_cache(maxsize=2)
def cython(name: str) -> Any:
    """A module of scipy.linalg alone: the package takes a tenth of a second to import."""
    package = importlib.util.find_spec("scipy")
    folder = Path((package and package.origin) or "").parent / "linalg"
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (folder / f"{name}{suffix}").exists():
            place = str(folder / f"{name}{suffix}")
            spec = importlib.util.spec_from_file_location(f"scipy.linalg.{name}", place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(f"scipy.linalg.{name}")


def symbol_of(name: str) -> str:
    """What kernels call the function."""
    return f"graphad_special_{name}"


@lru_cache(maxsize=64)
def scipy_address(name: str) -> int:
    """The address of SciPy's function."""
    from scipy.special import cython_special

    exported: Any = cython_special
    capsule = exported.__pyx_capi__[SCIPY[name][0]]
    return capsule_address(capsule)


def capsule_address(capsule) -> int:
    """The address that a capsule of Cython's holds."""
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype = ctypes.c_char_p
    python.PyCapsule_GetName.argtypes = [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
