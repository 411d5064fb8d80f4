"""Test functions of optimisation, as in Moré, Garbow and Hillstrom (1981) and Ackley (1987)."""

import numpy as np


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def ackley(x):
    a = -20.0 * np.exp(-0.2 * np.sqrt(np.mean(x**2)))
    return a - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20.0 + np.e


def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def powell_singular(x):
    a, b, c, d = x
    return np.array(
        [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]
    )


_rng = np.random.default_rng(1)
PROGRAMS = [
    ("rosenbrock", rosenbrock, (_rng.normal(size=10),), 0, True),
    ("ackley", ackley, (_rng.normal(size=7),), 0, True),
    ("beale", beale, (0.7, -0.4), (0, 1), True),
    ("powell_singular", powell_singular, (np.array([3.0, -1.0, 0.5, 1.2]),), 0, False),
]
