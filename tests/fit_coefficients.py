"""`python -m tests.fit_coefficients`: fit the numbers of bodies/coefficients.py anew and write it.

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


def _tan(u):
    z = mpmath.sqrt(u)
    return (mpmath.tan(z) - z) / (z * u)


def _asin(u):
    z = mpmath.sqrt(u)
    return (mpmath.asin(z) - z) / (z * u)


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


def _erf_whole(u):
    """erf(x) / x at u = x²."""
    x = mpmath.sqrt(u)
    return mpmath.erf(x) / x


DIGAMMA_ROOT = mpmath.findroot(mpmath.digamma, 1.4616)


def _log_gamma(t):
    """log(gamma(2 + t)) / t."""
    return 1 - mpmath.euler if abs(t) < mpf("1e-20") else mpmath.loggamma(2 + t) / t


def _digamma(u):
    """digamma(t) / (t - its root) at t = u + 3/2."""
    return mpmath.digamma(u + mpf(3) / 2) / (u + mpf(3) / 2 - DIGAMMA_ROOT)


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


STEP = mpmath.log(2) / 32 * mpf("1.0001")  # half of the way between entries of the table


def _log1p(r):
    """(log(1 + r) - r + r²/2) / r³."""
    if abs(r) < mpf("1e-12"):
        return mpf(1) / 3
    return (mpmath.log1p(r) - r + r * r / 2) / r**3


def _log2_part(r):
    """log2(1 + r) / r, for powers."""
    return (mpmath.log1p(r) / r if r else mpf(1)) / mpmath.log(2)


def _exp2_part(t):
    """(2**(t / 16) - 1) / t, for powers."""
    return mpmath.expm1(t * mpmath.log(2) / 16) / t if t else mpmath.log(2) / 16


# name: function, interval, coefficients for f64 and f32 (0: not needed)
FITS = {
    "EXP": (_exp, (-STEP, STEP), 5, 2),
    "EXPM1": (_exp, (-STEP, STEP), 6, 3),
    "SIN": (at_zero(_sin, -mpf(1) / 6), (0, mpf("0.8") ** 2), 6, 4),
    "COS": (at_zero(_cos, mpf(1) / 24), (0, mpf("0.8") ** 2), 6, 4),
    "ATAN": (at_zero(_atan, -mpf(1) / 3), (0, mpf("0.4143") ** 2), 11, 5),
    "ATAN_NEAR": (at_zero(_atan, -mpf(1) / 3), (0, mpf("0.0160")), 7, 3),
    "ATAN_ALL": (at_zero(_atan, -mpf(1) / 3), (0, 1), 0, 9),
    "TAN": (at_zero(_tan, mpf(1) / 3), (0, (PI / 4) ** 2 * mpf("1.001")), 15, 7),
    "ASIN": (at_zero(_asin, mpf(1) / 6), (0, mpf("0.25")), 13, 6),
    "LOG": (_log1p, (-mpf(1) / 32, mpf(1) / 16), 9, 4),
    "LOG2_OF_POWER": (_log2_part, (-mpf(1) / 32, mpf(1) / 16), 7, 0),
    "EXP2_OF_POWER": (_exp2_part, (-mpf(1) / 2, mpf(1) / 2), 3, 0),
    "CBRT": (mpmath.cbrt, (mpf("0.374"), mpf("3.001")), 6, 5),
    "ERF": (at_zero(_erf, 2 / mpmath.sqrt(PI) - mpf(9) / 8), (0, mpf("0.81")), 11, 6),
    "ERF_NEAR": (at_zero(_erf_whole, 2 / mpmath.sqrt(PI)), (0, mpf("0.0625")), 7, 4),
    "ERFCX": (_erfcx, (-1, mpf("0.765")), 22, 13),
    "LOG_GAMMA": (_log_gamma, (-mpf(1) / 2, mpf(1) / 2), 18, 0),
    "DIGAMMA": (_digamma, (-mpf(1) / 2, mpf(1) / 2), 21, 0),
    "I0E_NEAR": (_bessel(0, False), (-1, 1), 29, 17),
    "I0E_FAR": (_bessel(0, True), (-1, 1), 22, 9),
    "I1E_NEAR": (_bessel(1, False), (-1, 1), 28, 16),
    "I1E_FAR": (_bessel(1, True), (-1, 1), 22, 9),
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


TABLE = 16
PRECISION = {"F8": 53, "F4": 24}
BITS = {"F8": 42, "F4": 15}  # of the fraction of what is exact when a multiple of log 2 is added


def exponentials() -> dict[str, list]:
    """2**(j / 16), and what is missing of it as a part of it."""
    found: dict[str, list] = {}
    for code, bits in PRECISION.items():
        exact = [mpf(2) ** (mpf(j) / TABLE) for j in range(TABLE)]
        high = [parts(v, bits, 1)[0] for v in exact]
        low = [(v - h) / v for v, h in zip(exact, high, strict=True)]
        found[f"EXP_TABLE_{code}"], found[f"EXP_REST_{code}"] = high, [float(v) for v in low]
    return found


def logarithms() -> dict[str, list]:
    """c near 1 / m for mantissas m in [3/4, 3/2) by their first four bits, and its -log to bases.

    It is 1 on both sides of 1, where all digits of log(m) come from m - 1.
    """
    found: dict[str, list] = {"LOG_TABLE_F8": [], "LOG_TABLE_F4": []}
    for k in range(TABLE):
        width = mpf(1) / TABLE if k < 8 else mpf(1) / (2 * TABLE)
        start = 1 + k * width if k < 8 else mpf(1) / 2 + k * width
        c = 1.0 if k in (0, TABLE - 1) else parts(1 / (start + width / 2), 12, 1)[0]
        for code in BITS:
            found[f"LOG_TABLE_{code}"].append(c)
        for base, unit in (("LOG", 1), ("LOG2", mpmath.log(2)), ("LOG10", mpmath.log(10))):
            exact = -mpmath.log(c) / unit
            for code, bits in BITS.items():
                high = mpmath.nint(exact * 2**bits) / 2**bits
                found.setdefault(f"{base}_HIGH_{code}", []).append(float(high))
                found.setdefault(f"{base}_LOW_{code}", []).append(float(exact - high))
    return found


def arctangents() -> dict[str, list]:
    """c of each interval of |x| (0 below 1/8, two an octave up to 16, beyond: infinity), as c / one,
    and arctan(c) in two parts."""
    centres = [mpf(0)]
    for k in range(14):
        start = mpf(2) ** (k // 2 - 3) * (1 + mpf(k % 2) / 2)
        width = mpf(2) ** (k // 2 - 3) / 2
        centres.append(mpmath.nint((start + width / 2) * 256) / 256)
    found: dict[str, list] = {}
    for code, bits in (("F8", 53), ("F4", 24)):
        found[f"ATAN_TABLE_{code}"] = [*centres, 1]
        found[f"ATAN_ONE_{code}"] = [1] * (TABLE - 1) + [0]
        angles = [parts(mpmath.atan(c), bits, 2) for c in centres] + [parts(PI / 2, bits, 2)]
        found[f"ATAN_HIGH_{code}"], found[f"ATAN_LOW_{code}"] = zip(*angles, strict=True)
    return found


def written(numbers) -> str:
    """Numbers in hexadecimal, exact, three a line."""
    shown = [f'"{float(x).hex()}",' for x in numbers]
    return "".join(f"    {' '.join(shown[k : k + 3])}\n" for k in range(0, len(shown), 3))


def text() -> str:
    """The whole module."""
    lines = ['"""Written by `python -m tests.fit_coefficients`: polynomials, lowest first; tables."""\n\n# fmt: off\n',
             "# The error is that of the exact polynomial, before its coefficients are rounded.\n",
             "\n\ndef _numbers(*texts):\n    return tuple(float.fromhex(t) for t in texts)\n\n\n"]  # fmt: skip
    for name, (f, interval, double, single) in FITS.items():
        for code, count in zip(BITS, (double, single), strict=True):
            if not count:
                continue
            bits = PRECISION[code]
            c, error = minimax(f, interval, count)
            shown = ", ".join(mpmath.nstr(mpf(x), 5) for x in interval)
            rounded = [parts(x, bits, 1)[0] for x in c]
            lines.append(f"# error {mpmath.nstr(error, 3)} on {shown}\n")
            lines.append(f"{name}_{code} = _numbers(\n{written(rounded)})\n")
    for name, (f, origin, *ends) in RATIONALS.items():
        for (code, bits), (end, degree) in zip(PRECISION.items(), ends, strict=True):
            above, below, error = rational(f, origin, end, degree)
            span = f"{mpmath.nstr(origin, 5)}, {mpmath.nstr(end, 5)}"
            lines.append(f"# relative error {mpmath.nstr(error, 3)} on {span}\n")
            for part, c in (("ABOVE", above), ("BELOW", below)):
                rounded = [parts(x, bits, 1)[0] for x in c]
                lines.append(f"{name}_{part}_{code} = _numbers(\n{written(rounded)})\n")
    for name, values in (exponentials() | logarithms() | arctangents()).items():
        lines.append(f"{name} = _numbers(\n{written(values)})\n")
    for code, bits in BITS.items():
        value = mpmath.log10(2)
        high = mpmath.nint(value * 2**bits) / 2**bits
        lines.append(f"LOG10_2_{code} = _numbers(\n{written([high, value - high])})\n")
    constants = {
        "ROOT_LN2": (START, 2), "DIGAMMA_ROOT": (DIGAMMA_ROOT, 2),
        "HALF_PI": (PI / 2, 4), "LN2": (mpmath.log(2), 3), "INV_LN2": (1 / mpmath.log(2), 2),
        "INV_LN10": (1 / mpmath.log(10), 2),
        "ROOT_HALF": (mpmath.sqrt(mpf(1) / 2), 2),
    }  # fmt: skip
    for name, (value, count) in constants.items():
        for code, bits in PRECISION.items():
            lines.append(f"{name}_{code} = _numbers(\n{written(parts(value, bits, count))})\n")
    return "".join(lines)


if __name__ == "__main__":
    mp.dps = 60
    TARGET.write_text(text())
