"""Statistical models with factorisations and special functions."""

import numpy as np

_rng = np.random.default_rng(12)
X = _rng.uniform(-2, 2, size=(18, 2))
Y = np.sin(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * _rng.normal(size=18)
SIGNS = np.where(Y > 0, 1.0, -1.0)
TIMES = _rng.gamma(2.0, 1.5, 25)
DIED = _rng.uniform(size=25) < 0.7
TRIALS = _rng.integers(5, 15, 12).astype(float)
WON = np.floor(TRIALS * _rng.uniform(0.1, 0.9, 12))
ANGLES = _rng.vonmises(0.5, 2.0, 30)
LOW = np.tril_indices(3)
NOISE = _rng.normal(size=(8, 3))


def gaussian_process(world, log_scale, log_noise):
    """Marginal likelihood with a squared-exponential kernel."""
    d = ((X[:, None, :] - X[None]) ** 2 * np.exp(-2 * log_scale)).sum(2)
    factor = np.linalg.cholesky(np.exp(-0.5 * d) + np.exp(log_noise) * np.eye(18))
    z = world.linalg.solve_triangular(factor, Y, lower=True)
    return 0.5 * z @ z + np.log(np.diagonal(factor)).sum()


def weibull_survival(world, params):
    """Right-censored Weibull times."""
    shape, scale = np.exp(params[0]), np.exp(params[1])
    hazard = np.log(shape / scale) + (shape - 1.0) * np.log(TIMES / scale)
    return np.sum((TIMES / scale) ** shape) - np.sum(np.where(DIED, hazard, 0.0))


def gamma_survival(world, params):
    """Right-censored gamma times: the shape inside the incomplete gamma function."""
    a, z = np.exp(params[0]), TIMES * np.exp(params[1])
    density = (a - 1.0) * np.log(z) - z - world.special.gammaln(a) + params[1]
    return -np.sum(np.where(DIED, density, np.log(world.special.gammaincc(a, z))))


def variational(world, mean, flat):
    """Evidence bound of a logistic regression under a normal with a triangular factor."""
    factor = np.exp(flat[0]) * np.eye(3) + np.tril(np.outer(flat[1:4], flat[3:6]), -1)
    w = mean + NOISE @ factor.T
    design = np.column_stack([X, np.ones(18)])
    fit = world.special.log_expit(SIGNS * (w @ design.T)).sum(1).mean()
    return fit - 0.5 * (w**2).sum(1).mean() + np.linalg.slogdet(factor)[1]


def probit(world, w):
    return world.special.log_ndtr(SIGNS * (X @ w)).sum() - 0.5 * w @ w


def beta_binomial(world, log_a, log_b):
    a, b = np.exp(log_a), np.exp(log_b)
    ratio = world.special.betaln(WON + a, TRIALS - WON + b) - world.special.betaln(a, b)
    return -ratio.sum()


def negative_binomial(world, log_r, w):
    r, rate = np.exp(log_r), np.exp(X[:12] @ w)
    special = world.special
    terms = special.gammaln(WON + r) - special.gammaln(r) + special.xlogy(WON, rate)
    return np.sum((WON + r) * np.log(rate + r) - terms - r * np.log(r))


def von_mises(world, location, log_kappa):
    kappa = np.exp(log_kappa)
    total = np.log(world.special.i0e(kappa)) + kappa - kappa * np.cos(ANGLES - location)
    return total.sum()


def tail_of_a_beta(world, a, b):
    """The chance that the first of two arms is above a half, and its entropy."""
    p = 1.0 - world.special.betainc(a, b, 0.5)
    return world.special.entr(p) + world.special.entr(1.0 - p)


def principal_components(world, data):
    """Variance in the first two directions, by the spectrum and by singular values."""
    centred = data - data.mean(0)
    spectrum = np.linalg.eigvalsh(centred.T @ centred)
    return spectrum[-2:].sum() + np.linalg.svd(centred, compute_uv=False)[0]


def robust_regression(world, y):
    """Ten rounds of reweighted least squares with Cauchy's weights."""
    design = np.column_stack([X, np.ones(18)])

    def round_(i, w):
        weights = 1.0 / (1.0 + (y - design @ w) ** 2)
        return np.linalg.solve(design.T @ (weights[:, None] * design), design.T @ (weights * y))

    return world.fori_loop(0, 10, round_, np.zeros(3))


MODELS = [
    ("gaussian_process", gaussian_process, (0.2, -2.0)),
    ("weibull_survival", weibull_survival, (np.array([0.3, 0.8]),)),
    ("gamma_survival", gamma_survival, (np.array([0.5, -0.3]),)),
    ("variational", variational, (0.3 * _rng.normal(size=3), 0.5 * _rng.normal(size=6))),
    ("probit", probit, (_rng.normal(size=2),)),
    ("beta_binomial", beta_binomial, (0.3, 0.9)),
    ("negative_binomial", negative_binomial, (0.8, 0.3 * _rng.normal(size=2))),
    ("von_mises", von_mises, (0.4, 0.7)),
    ("tail_of_a_beta", tail_of_a_beta, (2.5, 3.2)),
    ("principal_components", principal_components, (_rng.normal(size=(9, 4)),)),
    ("robust_regression", robust_regression, (Y,)),
]
