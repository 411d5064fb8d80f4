"""Random numbers by counter, eager and in traced code: a draw is a function of its key.

    key split fold_in                                         keys are values, uint64 of shape (2,)
    bits uniform normal exponential gumbel bernoulli integers numbers
    permutation choice                                        orders and picks
    categorical Categorical                                   indices by weight
    select                                                    tensors or functions by weight
    gumbel_softmax score_function expectation                 gradients through a choice

The generator is Philox4x32-10 (bodies/philox.py). Draws do not depend on the number of threads, on
chunks, on the target, or on whether the call is traced; `ga.vmap` over keys gives what one call a
key gives. docs/sampling.md has algorithms, guarantees and recipes.

>>> import graphad as ga
>>> key = ga.random.key(0)
>>> ga.random.uniform(key, (2,))
array([0.8805202 , 0.60548185])
"""

from graphad.random.categorical import categorical, choice
from graphad.random.categorical_distribution import Categorical
from graphad.random.draws import (
    bernoulli,
    bits,
    exponential,
    gumbel,
    normal,
    permutation,
    uniform,
)
from graphad.random.gradients import expectation, gumbel_softmax, score_function
from graphad.random.keys import fold_in, key, split
from graphad.random.options import select
from graphad.random.whole import integers

__all__ = [
    "Categorical",
    "bernoulli",
    "bits",
    "categorical",
    "choice",
    "expectation",
    "exponential",
    "fold_in",
    "gumbel",
    "gumbel_softmax",
    "integers",
    "key",
    "normal",
    "permutation",
    "score_function",
    "select",
    "split",
    "uniform",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
