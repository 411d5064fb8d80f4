"""Problems of ADBench (F. Srajer, Z. Kukelova, A. Fitzgibbon, A benchmark of selected algorithmic
differentiation tools, 2018) on inputs of its shapes: the gradient of a Gaussian mixture model, and
the Jacobians of bundle adjustment and of hand tracking."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from bench import by_hand, hand
from bench.measure import Row
from bench.peers import jax_job, module, torch_gradient

N = 1000


def gmm_inputs(d: int, k: int):
    """alphas, means, icf (log-diagonals, then the lower triangle), x."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=k), rng.uniform(size=(k, d)),
            rng.normal(size=(k, d * (d + 1) // 2)), rng.normal(size=(N, d)))  # fmt: skip


def gmm(np_, d: int, alphas, means, icf, x):
    """Log-likelihood with a Wishart prior (gamma = 1, m = 0)."""
    place, mask = np.zeros((d, d), np.int64), np.zeros((d, d))
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))  # column by column
    place[rows[order], columns[order]] = d + np.arange(len(rows))
    mask[rows, columns] = 1.0
    place, mask = _like(np_, place), _like(np_, mask)
    diagonal = np_.exp(icf[:, :d])
    lower = icf[:, place] * mask
    total = icf[:, :d].sum(1)
    centred = x[:, None, :] - means[None, :, :]
    turned = diagonal * centred + np_.einsum("kij,nkj->nki", lower, centred)
    inner = alphas + total - 0.5 * (turned * turned).sum(-1)
    largest = np_.amax(inner, 1)
    slack = np_.log(np_.exp(inner - largest[:, None]).sum(1)) + largest
    top = np_.amax(alphas, 0)
    log_sum = np_.log(np_.exp(alphas - top).sum()) + top
    frobenius = (diagonal * diagonal).sum() + (lower * lower).sum()
    constant = -N * d * 0.5 * math.log(2 * math.pi)
    return constant + slack.sum() - N * log_sum + 0.5 * frobenius - total.sum()


def _like(np_, array):
    torch = module("torch")
    return torch.from_numpy(array) if np_ is torch and torch is not None else array


def rodrigues(np_, r, x):
    """x turned by the rotation vector r."""
    squared = r @ r
    angle = np_.sqrt(squared)
    c, s = np_.cos(angle), np_.sin(angle)
    w = r / angle
    cross = np_.stack([w[1] * x[2] - w[2] * x[1], w[2] * x[0] - w[0] * x[2],
                       w[0] * x[1] - w[1] * x[0]])  # fmt: skip
    return x * c + cross * s + w * ((w @ x) * (1.0 - c))


def residual(np_, camera, point, weight, feature):
    """The weighted reprojection error of one observation: 2 numbers of 15 variables."""
    turned = rodrigues(np_, camera[:3], point - camera[3:6])
    flat = turned[:2] / turned[2]
    squared = flat @ flat
    bent = flat * (1.0 + camera[9] * squared + camera[10] * squared * squared)
    return weight * (bent * camera[6] + camera[7:9] - feature)


def ba_inputs(n: int = 31_843):
    """Cameras, points, weights and features of n observations."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 11)), rng.normal(size=(n, 3)) + np.array([0, 0, 5.0]),
            rng.uniform(0.5, 1, size=n), rng.normal(size=(n, 2)))  # fmt: skip


def rows() -> list[Row]:
    """Gradients of mixtures, Jacobians of bundle adjustment."""
    jax, torch = module("jax"), module("torch")
    found = []
    for d, k in ((10, 50), (20, 50), (64, 25)):
        args = gmm_inputs(d, k)
        wrt = (0, 1, 2)
        g = ga.value_and_grad(lambda *a, d=d: gmm(np, d, *a), wrt=wrt)
        jobs = {"graphad": lambda g=g, a=args: g(*a)}
        if jax:
            h = jax.value_and_grad(lambda *a, d=d: gmm(jax.numpy, d, *a), argnums=wrt)
            jobs["jax"] = jax_job(h, *args)
        if torch:
            x = torch.from_numpy(args[3])
            jobs |= torch_gradient(lambda *a, d=d, x=x: gmm(torch, d, *a, x), *args[:3])
        jobs["by hand, numba"] = lambda a=args: by_hand.gmm(*a)
        jobs["products alone"] = gmm_products(d, k)
        found.append(Row(f"GMM gradient, d {d}, K {k}", jobs, 1e-8, target=0.5,
                         floor="products alone", by_hand="by hand, numba"))  # fmt: skip
    cameras = ba_inputs()
    jacobian = ga.vmap(ga.jacobian(lambda *a: residual(np, *a), wrt=(0, 1, 2)))
    jobs = {"graphad": lambda: jacobian(*cameras)}
    if jax:
        h = jax.vmap(jax.jacfwd(lambda *a: residual(jax.numpy, *a), argnums=(0, 1, 2)))
        jobs["jax"] = jax_job(h, *cameras)
    jobs["by hand, numba"] = lambda: by_hand.bundle(*cameras)
    found.append(Row("bundle adjustment, 31,843 Jacobians", jobs, 1e-8, target=0.5,
                     by_hand="by hand, numba"))  # fmt: skip
    return [*found, hand_tracking()]


def gmm_products(d: int, k: int):
    """The two products over the data that a gradient cannot do without, by NumPy's BLAS."""
    rng = np.random.default_rng(0)
    centred, lower = rng.normal(size=(k, N, d)), rng.normal(size=(k, d, d))

    def run():
        turned = centred @ lower
        return turned, turned.transpose(0, 2, 1) @ centred

    return run


def hand_tracking() -> Row:
    """The Jacobian of 1000 points' differences in the 26 numbers of a hand's pose."""
    theta, model = hand.inputs()
    f = ga.jacobian(lambda t: hand.distances(np, t, model))
    jobs = {"graphad": lambda: f(theta)}
    jax = module("jax")
    if jax:
        on_device = jax.tree.map(jax.numpy.asarray, model)
        g = jax.jacfwd(lambda t, m: hand.distances(jax.numpy, t, m))
        jobs["jax"] = jax_job(g, theta, on_device)
    jobs["by hand, numba"] = lambda: by_hand.hand(theta, model)
    return Row("hand tracking, 1,000 points, 26 parameters", jobs, 1e-8, target=0.5,
               by_hand="by hand, numba")  # fmt: skip
