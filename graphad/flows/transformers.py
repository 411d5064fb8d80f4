"""Monotone functions of one number, with parameters from a conditioner: affine, and splines.

Each is a frozen setting with `count` raw parameters for each number; `raw` is a list of so many
arrays of the shape of x. `forward` and `inverse` give the value and the log-derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphad as ga


@dataclass(frozen=True)
class AffineTransformer:
    """y = (x - shift) / slope, slope = exp(-bound) + softplus(a + c), with c so that 0 gives 1.

    The inverse, which a density takes, is x = shift + y slope: affine in shift and, for large a, in
    a, it learns faster there than a log-scale. 1 / slope is at most exp(bound).
    """

    bound: float | None = 5.0

    @property
    def count(self) -> int:
        """Raw parameters of one number."""
        return 2

    def _slope(self, raw):
        least = 0.0 if self.bound is None else math.exp(-self.bound)
        return least + np.logaddexp(raw[1] + math.log(math.expm1(1.0 - least)), 0)

    def forward(self, x, raw) -> tuple[Any, Any]:
        """y and log dy/dx."""
        slope = self._slope(raw)
        return (x - raw[0]) / slope, -np.log(slope)

    def inverse(self, y, raw) -> tuple[Any, Any]:
        """x and log dx/dy."""
        slope = self._slope(raw)
        return raw[0] + y * slope, np.log(slope)


@dataclass(frozen=True)
class ShiftTransformer:
    """y = x + shift, which keeps volumes: NICE (Dinh, Krueger and Bengio 2015)."""

    @property
    def count(self) -> int:
        """Raw parameters of one number."""
        return 1

    def forward(self, x, raw) -> tuple[Any, Any]:
        """y and 0."""
        return x + raw[0], np.zeros_like(x)

    def inverse(self, y, raw) -> tuple[Any, Any]:
        """x and 0."""
        return y - raw[0], np.zeros_like(y)


def _within(t):
    """t, what rounding took out of [0, 1] put back; the derivative is 1."""
    return t + ga.stop_gradient(np.clip(t, 0.0, 1.0) - t)


@dataclass(frozen=True)
class SplineTransformer:
    """A monotone rational-quadratic spline on [-interval, interval], the identity outside.

    Durkan, Bekasov, Murray and Papamakarios 2019, equations 4 to 8. What comes in is clipped to the
    interval before the spline is taken, so gradients are finite everywhere.
    """

    bins: int = 8
    interval: float = 5.0
    least: float = 1e-3  # of a bin's share of the interval, and of a slope

    @property
    def count(self) -> int:
        """Raw parameters of one number: widths, heights, inner slopes."""
        return 3 * self.bins - 1

    def _knots(self, raw):
        """Places of the knots: 0 ... bins, the ends exact."""
        top = raw[0]
        for r in raw[1:]:
            top = np.maximum(top, r)
        powers = [np.exp(r - top) for r in raw]
        total = powers[0]
        for p in powers[1:]:
            total = total + p
        factor = (2.0 * self.interval * (1.0 - self.least * self.bins)) / total
        step, places = 2.0 * self.interval * self.least, []
        at = -self.interval
        for p in powers[:-1]:
            at = at + (step + factor * p)
            places.append(at)
        return places

    def _pieces(self, v, raw, inverse: bool):
        """Left knot, width, left height, height and the slopes at both ends of v's piece."""
        k, b = self.bins, self.interval
        xs, ys = self._knots(raw[:k]), self._knots(raw[k : 2 * k])
        offset = math.log(math.expm1(1.0 - self.least))
        slopes = [self.least + np.logaddexp(r + offset, 0) for r in raw[2 * k :]]
        x0, y0 = np.full_like(v, -b), np.full_like(v, -b)
        s0, s1 = np.ones_like(v), slopes[0] if slopes else np.ones_like(v)
        x1, y1 = (xs[0], ys[0]) if xs else (-x0, -y0)
        for j in range(k - 1):
            right = v >= (ys if inverse else xs)[j]
            last = j == k - 2
            x0, y0, s0 = (np.where(right, a, c) for a, c in
                          ((xs[j], x0), (ys[j], y0), (slopes[j], s0)))  # fmt: skip
            x1 = np.where(right, b if last else xs[j + 1], x1)
            y1 = np.where(right, b if last else ys[j + 1], y1)
            s1 = np.where(right, 1.0 if last else slopes[j + 1], s1)
        return x0, x1 - x0, y0, y1 - y0, s0, s1

    def _log_slope(self, t, u, slope, s0, s1, bottom):
        inner = s1 * t * t + 2.0 * slope * t * u + s0 * u * u
        return 2.0 * np.log(slope / bottom) + np.log(inner)

    def forward(self, x, raw) -> tuple[Any, Any]:
        """y and log dy/dx."""
        inside = np.abs(x) < self.interval
        v = np.clip(x, -self.interval, self.interval)
        x0, width, y0, height, s0, s1 = self._pieces(v, raw, False)
        slope = height / width
        t = _within((v - x0) / width)
        u = 1.0 - t
        bottom = slope * (t * t + u * u) + (s1 + s0) * t * u
        y = y0 + height * (slope * t * t + s0 * t * u) / bottom
        log_slope = self._log_slope(t, u, slope, s0, s1, bottom)
        return np.where(inside, y, x), np.where(inside, log_slope, 0.0)

    def inverse(self, y, raw) -> tuple[Any, Any]:
        """x and log dx/dy."""
        inside = np.abs(y) < self.interval
        v = np.clip(y, -self.interval, self.interval)
        x0, width, y0, height, s0, s1 = self._pieces(v, raw, True)
        slope = height / width
        rise = (v - y0) / height
        b = s0 - rise * (s1 + s0 - 2.0 * slope)
        a, c = slope - b, slope * rise
        tiny = np.finfo(v.dtype).tiny
        root = np.sqrt(np.maximum(b * b + 4.0 * a * c, tiny))
        # The root of a t² + b t = c in [0, 1], without the difference of two numbers nearly equal.
        low = b < 0
        above = np.where(low, root - b, 2.0 * c)
        t = _within(above / np.where(low, 2.0 * a, root + b))
        u = 1.0 - t
        bottom = slope * (t * t + u * u) + (s1 + s0) * t * u
        x = x0 + width * t
        log_slope = self._log_slope(t, u, slope, s0, s1, bottom)
        return np.where(inside, x, y), np.where(inside, -log_slope, 0.0)
