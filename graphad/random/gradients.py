"""Gradients through a random choice: relaxed, by the score function, or exact by enumeration."""

from __future__ import annotations

import numpy as np

import graphad as ga
from graphad.random.categorical import as_logits
from graphad.random.draws import gumbel


@ga.function(static="hard")
def _gumbel_softmax(key, logits, temperature, hard):
    noise = gumbel(key, logits.shape, logits.dtype)
    soft = ga.special.softmax((logits + noise) / temperature, axis=-1)
    if not hard:
        return soft
    best = np.argmax(soft, axis=-1)
    hot = (best[..., None] == np.arange(logits.shape[-1])).astype(logits.dtype)
    return ga.stop_gradient(hot) + (soft - ga.stop_gradient(soft))


def gumbel_softmax(key, logits, temperature=1.0, hard=False, axis=-1):
    """softmax((logits + g) / temperature), g of Gumbel's distribution: a relaxed one-hot draw.

    With `hard` the value is the one-hot vector of the largest and the gradient that of the relaxed
    one (straight-through, biased). E. Jang, S. Gu and B. Poole, Categorical reparameterization with
    Gumbel-softmax, ICLR 2017, equation 2.

    >>> import numpy as np, graphad as ga
    >>> ga.random.gumbel_softmax(ga.random.key(0), np.zeros(3), hard=True).sum()
    np.float64(1.0)
    """
    logits = as_logits("random.gumbel_softmax", logits, axis)
    return np.moveaxis(_gumbel_softmax(key, logits, temperature, hard), -1, axis)


def score_function(loss, log_prob, baseline=0.0):
    """The value `loss` whose gradient is that of E[loss]: d loss + (loss - baseline) d log_prob.

    `log_prob` is of what was drawn for this loss; a baseline that does not depend on it leaves the
    mean as it is and makes the variance smaller. R. J. Williams, Machine Learning 8, 1992.

    >>> import graphad as ga
    >>> ga.grad(lambda l: ga.random.score_function(3.0, 2.0 * l, baseline=1.0))(0.5)
    np.float64(4.0)
    """
    weight = ga.stop_gradient(loss - baseline)
    return loss + weight * (log_prob - ga.stop_gradient(log_prob))


def expectation(logits, f):
    """sum over k of p(k) f(k), p = softmax(logits) of shape (K,): exact, and so is its gradient.

    f takes an integer and returns a number or an array; it is evaluated for every k.

    >>> import numpy as np, graphad as ga
    >>> ga.grad(lambda l: ga.random.expectation(l, lambda k: 1.0 * k))(np.zeros(2))
    array([-0.25,  0.25])
    """
    logits = as_logits("random.expectation", logits)
    values = ga.vmap(f)(np.arange(logits.shape[-1]))
    return np.tensordot(ga.special.softmax(logits, axis=-1), values, axes=1)
