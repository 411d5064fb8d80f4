"""`python -m tests.fit_coefficients`: fit the numbers of emit/coefficients.py anew and write it.

Each polynomial is the minimax polynomial of its function in the weighted error given, by the exchange
algorithm of Remez (E. Ya. Remez, 1934; as in W. J. Cody, W. Fraser and J. F. Hart, Rational
Chebyshev approximation using linear equations, Numer. Math. 12, 1968), in 60 digits.
"""

from __future__ import annotations

import pathlib

import mpmath
from mpmath import mp, mpf

TARGET = pathlib.Path(__file__).parent.parent / "graphad" / "emit" / "coefficients.py"
mp.dps = 60
PI = mp.pi


def at_zero(f, limit):
    """f with its limit at 0."""
    return lambda u: limit if u == 0 else f(u)


# name: (function of u, interval, coefficients for f8, for f4)
def _sin(u):
    r = mpmath.sqrt(u)
    return (mpmath.sin(r) - r) / (r * u)


def _cos(u):
    return (mpmath.cos(mpmath.sqrt(u)) - 1 + u / 2) / (u * u)


def _atan(u):
    z = mpmath.sqrt(u)
    return (mpmath.atan(z) - z) / (z * u)


def _asin(u):
    z = mpmath.sqrt(u)
    return (mpmath.asin(z) - z) / (z * u)


def _sinh(u):
    r = mpmath.sqrt(u)
    return (mpmath.sinh(r) - r) / (r * u)


def _log_tail(u):
    """(2 atanh(s) - 2 s - 2 s³/3) / s⁵ at u = s²."""
    s = mpmath.sqrt(u)
    return (2 * mpmath.atanh(s) - 2 * s - 2 * s * u / 3) / (s * u * u)


def _log_single(u):
    """(2 atanh(s) - 2 s) / s³ at u = s²."""
    s = mpmath.sqrt(u)
    return (2 * mpmath.atanh(s) - 2 * s) / (s * u)


def _exp(r):
    """(exp(r) - 1 - r) / r²."""
    if abs(r) < mpf("1e-12"):
        return mpf(1) / 2 + r / 6 + r * r / 24 + r**3 / 120
    return (mpmath.expm1(r) - r) / (r * r)


def _erfcx(q):
    """(1 + 2a) exp(a²) erfc(a) at q = (a - 4) / (a + 4)."""
    if q == 1:
        return 2 / mpmath.sqrt(PI)
    a = 4 * (1 + q) / (1 - q)
    if a > 300:  # the asymptotic series
        t = 1 / (2 * a * a)
        series = sum((-1) ** k * mpmath.fac2(2 * k - 1) * t**k for k in range(12))
        return (1 + 2 * a) / (a * mpmath.sqrt(PI)) * series
    return (1 + 2 * a) * mpmath.exp(a * a) * mpmath.erfc(a)


def _erf(u):
    """erf(x) / x - 9/8 at u = x²: what is beyond x + x/8."""
    x = mpmath.sqrt(u)
    return mpmath.erf(x) / x - mpf(9) / 8


def _bessel(order, far):
    """exp(-x) I(x) (over x for order 1) at x = 4 (t + 1), or its sqrt(x) multiple at 16 / (t + 1)."""

    def f(t):
        if not far:
            x = 4 * (1 + t)
            if order and x == 0:
                return mpf(1) / 2
            return mpmath.besseli(order, x) * mpmath.exp(-x) / (x if order else 1)
        if t == -1:
            return 1 / mpmath.sqrt(2 * PI)
        x = 16 / (1 + t)
        if x > 2000:
            m = 4 * mpf(order) ** 2
            series = 1 - (m - 1) / (8 * x) + (m - 1) * (m - 9) / (2 * (8 * x) ** 2)
            more = (m - 1) * (m - 9) * (m - 25) / (6 * (8 * x) ** 3)
            last = (m - 1) * (m - 9) * (m - 25) * (m - 49) / (24 * (8 * x) ** 4)
            return (series - more + last) / mpmath.sqrt(2 * PI)
        return mpmath.besseli(order, x) * mpmath.exp(-x) * mpmath.sqrt(x)

    return f


HALF_LN2 = mpmath.log(2) / 2 * mpf("1.0001")
FITS = {
    "EXP": (_exp, (-HALF_LN2, HALF_LN2), 10, 5),
    "SIN": (at_zero(_sin, -mpf(1) / 6), (0, mpf("0.8") ** 2), 6, 4),
    "COS": (at_zero(_cos, mpf(1) / 24), (0, mpf("0.8") ** 2), 6, 4),
    "ATAN": (at_zero(_atan, -mpf(1) / 3), (0, mpf("0.4143") ** 2), 11, 5),
    "ASIN": (at_zero(_asin, mpf(1) / 6), (0, mpf("0.25")), 13, 6),
    "SINH": (at_zero(_sinh, mpf(1) / 6), (0, mpf("1")), 7, 4),
    "LOG_TAIL": (at_zero(_log_tail, mpf(2) / 5), (0, mpf("0.0295")), 8, 3),
    "CBRT": (mpmath.cbrt, (mpf("0.353"), mpf("2.829")), 6, 5),
    "ERF": (at_zero(_erf, 2 / mpmath.sqrt(PI) - mpf(9) / 8), (0, mpf("0.81")), 11, 6),
    "ERFCX": (_erfcx, (-1, mpf("0.765")), 22, 13),
    "I0E_NEAR": (_bessel(0, False), (-1, 1), 29, 17),
    "I0E_FAR": (_bessel(0, True), (-1, 1), 22, 9),
    "I1E_NEAR": (_bessel(1, False), (-1, 1), 28, 16),
    "I1E_FAR": (_bessel(1, True), (-1, 1), 22, 9),
    "LOG": (at_zero(_log_single, mpf(2) / 3), (0, mpf("0.0295")), 7, 3),
}


def minimax(f, interval, count: int, rounds: int = 30):
    """Coefficients, lowest first, of the minimax polynomial of f on an interval; and its error."""
    n = count + 1
    start, end = interval

    def place(share):
        return start + (end - start) * (1 - mpmath.cos(PI * share)) / 2

    points = [place(mpf(k) / (n - 1)) for k in range(n)]
    values = {}

    def exact(u):
        if u not in values:
            values[u] = f(u)
        return values[u]

    grid = [place(mpf(k) / (40 * n)) for k in range(40 * n + 1)]
    for _ in range(rounds):
        rows = [[u**k for k in range(count)] + [(-1) ** i] for i, u in enumerate(points)]
        solved = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([exact(u) for u in points]))
        c = [solved[k] for k in range(count)]
        errors = [exact(u) - mpmath.polyval(c[::-1], u) for u in grid]
        extremes = [0]
        for k in range(1, len(grid) - 1):
            if abs(errors[k]) >= abs(errors[k - 1]) and abs(errors[k]) > abs(errors[k + 1]):
                extremes.append(k)
        extremes.append(len(grid) - 1)
        chosen: list[int] = []
        for k in extremes:
            if chosen and (errors[chosen[-1]] > 0) == (errors[k] > 0):
                if abs(errors[k]) > abs(errors[chosen[-1]]):
                    chosen[-1] = k
            else:
                chosen.append(k)
        while len(chosen) > n:
            chosen.pop(0 if abs(errors[chosen[0]]) < abs(errors[chosen[-1]]) else -1)
        largest = max(map(abs, errors))
        if len(chosen) < n or largest <= abs(solved[count]) * (1 + mpf("1e-3")):
            return c, largest
        points = [grid[k] for k in chosen]
    return c, largest


START = mpmath.sqrt(mpmath.log(2))


def _normal_tail(s):
    """z / (s - sqrt(log 2)) at s = sqrt(-log x), where z > 0 is exceeded with probability x."""
    tail = mpmath.exp(-s * s)
    w = mpmath.sqrt(s * s - mpmath.log(s * mpmath.sqrt(PI) + 1)) if s > 1.2 else s - START
    step = mpf(1)
    while abs(step) > mpf(10) ** -40:  # Halley's steps for erfc(w) = 2 x
        step = (mpmath.erfc(w) - 2 * tail) * mpmath.sqrt(PI) / 2 * mpmath.exp(w * w)
        step = step / (1 + w * step)
        w += step
    return mpmath.sqrt(2) * w / (s - START)


# name: (function, origin of the powers, for f8 and f4: the end of the interval and the degree)
RATIONALS = {
    "NORMAL_TAIL": (_normal_tail, START, (mpmath.sqrt(65 * mpmath.log(2)), 8),
                    (mpmath.sqrt(33 * mpmath.log(2)), 3)),
}  # fmt: skip


def rational(f, origin, end, degree: int, rounds: int = 12):
    """Numerator and denominator, lowest first, of f in powers of x - origin; and the error.

    By least squares of the relative error, linear with the denominator of the round before (H. L.
    Loeb, 1957), in weights that grow where it is large (C. L. Lawson, 1961).
    """
    count = 16 * (degree + 4)
    points = [(origin + end + (end - origin) * mpmath.cos(PI * (2 * k + 1) / (2 * count))) / 2
              for k in range(count)]  # fmt: skip
    values = [f(x) for x in points]
    powers = [[(x - origin) ** k for k in range(degree + 1)] for x in points]
    below, weights = [mpf(1)] * count, [mpf(1)] * count
    for _ in range(rounds):
        scale = [w / (y * b) for w, y, b in zip(weights, values, below, strict=True)]
        rows = [[c * u for u in p] + [-c * y * u for u in p[1:]]
                for c, y, p in zip(scale, values, powers, strict=True)]  # fmt: skip
        right = [c * y for c, y in zip(scale, values, strict=True)]
        c = list(mpmath.qr_solve(mpmath.matrix(rows), mpmath.matrix(right))[0])
        above, under = c[: degree + 1], [mpf(1), *c[degree + 1 :]]
        below = [mpmath.fdot(under, p) for p in powers]
        errors = [abs(mpmath.fdot(above, p) / b / y - 1)
                  for p, b, y in zip(powers, below, values, strict=True)]  # fmt: skip
        largest = max(errors)
        weights = [w * mpmath.sqrt(e / largest + mpf("0.02"))
                   for w, e in zip(weights, errors, strict=True)]  # fmt: skip
    return above, under, largest


def parts(value, bits: int, count: int) -> list[float]:
    """A constant as a sum of floats of so many bits each, by rounding what is left."""
    found = []
    for _ in range(count):
        with mpmath.workprec(bits):
            part = +value
        found.append(float(part))
        value = value - part
    return found


def written(numbers) -> str:
    """Numbers in hexadecimal, exact, a line each."""
    return "".join(f'    "{float(x).hex()}",\n' for x in numbers)


def text() -> str:
    """The whole module."""
    lines = ['"""Written by `python -m tests.fit_coefficients`: polynomials, lowest first."""\n',
             "# The error is that of the exact polynomial, before its coefficients are rounded.\n",
             "\n\ndef _numbers(*texts):\n    return tuple(float.fromhex(t) for t in texts)\n\n\n"]  # fmt: skip
    for name, (f, interval, double, single) in FITS.items():
        for code, count, bits in (("F8", double, 53), ("F4", single, 24)):
            c, error = minimax(f, interval, count)
            shown = ", ".join(mpmath.nstr(mpf(x), 5) for x in interval)
            rounded = [parts(x, bits, 1)[0] for x in c]
            lines.append(f"# error {mpmath.nstr(error, 3)} on {shown}\n")
            lines.append(f"{name}_{code} = _numbers(\n{written(rounded)})\n")
    for name, (f, origin, *ends) in RATIONALS.items():
        for code, (end, degree), bits in zip(("F8", "F4"), ends, (53, 24), strict=True):
            above, below, error = rational(f, origin, end, degree)
            span = f"{mpmath.nstr(origin, 5)}, {mpmath.nstr(end, 5)}"
            lines.append(f"# relative error {mpmath.nstr(error, 3)} on {span}\n")
            for part, c in (("ABOVE", above), ("BELOW", below)):
                rounded = [parts(x, bits, 1)[0] for x in c]
                lines.append(f"{name}_{part}_{code} = _numbers(\n{written(rounded)})\n")
    constants = {
        "ROOT_LN2": (START, 2),
        "HALF_PI": (PI / 2, 4), "LN2": (mpmath.log(2), 3), "INV_LN2": (1 / mpmath.log(2), 2),
        "INV_LN10": (1 / mpmath.log(10), 2), "LOG10_2": (mpmath.log10(2), 2),
        "TWO_THIRDS": (mpf(2) / 3, 2), "ROOT_HALF": (mpmath.sqrt(mpf(1) / 2), 2),
    }  # fmt: skip
    for name, (value, count) in constants.items():
        for code, bits in (("F8", 53), ("F4", 24)):
            lines.append(f"{name}_{code} = _numbers(\n{written(parts(value, bits, count))})\n")
    return "".join(lines)


if __name__ == "__main__":
    mp.dps = 60
    TARGET.write_text(text())
