"""What to write instead of a call that is not traced: only what does the same job."""

from __future__ import annotations

GENERAL = (
    "its formula with covered calls (python -m graphad operations), or ga.external of @njit code"
)

_VALUES = ("its shape depends on values, which a trace does not know: np.where(mask, x, 0) keeps "
           "the shape")  # fmt: skip
_IN_PLACE = "z = z.at[i].set(v) on a traced z, which makes a new array"
_OUTSIDE = "return the value from the function, and do it with the result"
_FFT = ("multiply by the matrices np.cos(a) and np.sin(a) of a = 2 np.pi / n * np.outer(j, k); "
        "Fourier transforms are not covered")  # fmt: skip
_MINIMUM = ("minimise outside, with jac=ga.grad(f); for a minimum within a function: ga.root of "
            "ga.grad(f), or steps of ga.optim.adam in ga.fori_loop")  # fmt: skip
_QUADRATURE = ("weights @ f(nodes), with nodes and weights of np.polynomial.legendre.leggauss(n) "
               "made outside")  # fmt: skip
_BASIS = "np.interp is linear interpolation; for others, basis @ values with the basis made outside"

_NUMPY = {
    "unique unique_all unique_counts unique_inverse unique_values nonzero flatnonzero argwhere "
    "extract compress setdiff1d setxor1d union1d intersect1d trim_zeros": _VALUES,
    "put place putmask put_along_axis fill_diagonal": _IN_PLACE,
    "save savez savez_compressed savetxt array_repr array_str array2string": _OUTSIDE,
    "histogram": "np.bincount(np.digitize(x, edges), minlength=len(edges) + 1)[1:-1]",
    "polyfit": "np.linalg.lstsq(np.vander(x, degree + 1), y)[0]",
    "roots": "np.linalg.eigvals of the companion matrix",
    "poly": "np.polymul of the factors [1.0, -root]",
    "nanargmax": "np.argmax(np.where(np.isnan(x), -np.inf, x))",
    "nanargmin": "np.argmin(np.where(np.isnan(x), np.inf, x))",
    "apply_along_axis": "ga.vmap(f, in_axes=k)",
    "apply_over_axes": "reductions take several axes: np.sum(x, axis=(0, 1), keepdims=True)",
    "piecewise": "np.select(conditions, [f(x), g(x)])",
    "choose": "np.select([i == 0, i == 1], [a, b])",
    "ix_": "x[rows[:, None], columns]",
    "i0": "ga.special.i0",
    "astype": "x.astype(dtype)",
    "modf": "np.trunc(x) and x - np.trunc(x)",
    "ldexp": "x * 2.0**e",
    "unravel_index": "i // n and i % n",
    "ravel_multi_index": "i * n + j",
    "resize": "np.tile and np.reshape",
}

_SCIPY = {
    "optimize.brentq optimize.brenth optimize.bisect optimize.ridder optimize.toms748 "
    "optimize.newton optimize.root_scalar optimize.root optimize.fsolve": "ga.root(f, start or "
    "bracket, ...), which is differentiated by the implicit function theorem",
    "optimize.fixed_point": "ga.fixed_point",
    "optimize.minimize optimize.minimize_scalar optimize.least_squares optimize.curve_fit "
    "optimize.leastsq optimize.fmin optimize.fmin_bfgs": _MINIMUM,
    "integrate.solve_ivp integrate.odeint": "ga.odeint",
    "integrate.quad integrate.fixed_quad integrate.quad_vec integrate.romberg": _QUADRATURE,
    "integrate.trapezoid": "np.trapezoid",
    "interpolate": _BASIS,
    "fft": _FFT,
    "stats": "its formula with NumPy and ga.special; densities to fit and draw from: ga.flows",
    "signal.convolve signal.fftconvolve": "np.convolve, of vectors",
    "signal.correlate": "np.correlate, of vectors",
    "spatial.distance": "np.linalg.norm(x[:, None] - y, axis=-1), for distances of points",
}

# Of arrays, what a traced value has not, and what to write instead.
OF_ARRAYS = {
    "fill": "np.full_like(x, v), which makes a new array",
    "sort": "x = np.sort(x), which makes a new array",
    "partition": "x = np.partition(x, k), which makes a new array",
    "resize": "np.reshape, or np.tile",
    "tobytes": _OUTSIDE,
    "tofile": _OUTSIDE,
    "dump": _OUTSIDE,
    "data": "return the value from the function: results have memory, traced values have none",
    "view": "x.astype(dtype) for values; bits cannot be looked at as another dtype",
    "itemset": "x = x.at[i].set(v)",
    "put": "x = x.at[i].set(v)",
    "byteswap": _OUTSIDE,
}


def _table(groups: dict[str, str]) -> dict[str, str]:
    return {name: fix for names, fix in groups.items() for name in names.split()}


OF_NUMPY, OF_SCIPY = _table(_NUMPY), _table(_SCIPY)


def instead(name: str) -> str:
    """The fix for a call, by its full name: `np.unique`, `scipy.optimize.brentq`."""
    package, _, rest = name.partition(".")
    if package == "np":
        return _FFT if rest.startswith("fft.") else OF_NUMPY.get(rest, GENERAL)
    while rest:
        if rest in OF_SCIPY:
            return OF_SCIPY[rest]
        rest = rest.rpartition(".")[0]
    return GENERAL
