"""What a kernel may return: 0, or the status of a call that cannot be finished.

Declared once, for those who return one (kernels, the executor, the gate) and those who say what it
means (`run/failures.py` to Python, `njit/frame.py` within `@njit` code).
"""

from __future__ import annotations

import numpy as np

BAD_INDEX = 1
BAD_SHAPE = 2
NO_MEMORY = 3
BAD_SLICE = 4
SINGULAR = 5  # of linear algebra, see emit/lapack.py
NOT_POSITIVE = 6
NOT_CONVERGED = 7
FOREIGN = 8  # a foreign function raised
BAD_WEIGHT = 9  # of draws, see emit/sampling.py
NO_WEIGHT = 10
TOO_FEW = 11
NOT_REAL = 12  # of functions of matrices
MOVED = 13  # a captured array

NOTED = 256  # added to a status once the step that it comes from is written down

# What `@njit` code raises, where an exception has a constant text.
IN_NJIT = {
    BAD_INDEX: (IndexError, "graphad: an index is out of bounds"),
    BAD_SHAPE: (ValueError, "graphad: an argument has another shape than the compiled one"),
    NO_MEMORY: (MemoryError, "graphad: no memory for a call"),
    BAD_SLICE: (ValueError, "graphad: a slice reaches over the end of a symbolic dim"),
    SINGULAR: (np.linalg.LinAlgError, "Singular matrix"),
    NOT_POSITIVE: (np.linalg.LinAlgError, "Matrix is not positive definite"),
    NOT_CONVERGED: (np.linalg.LinAlgError, "the iteration did not converge"),
    FOREIGN: (RuntimeError, "graphad: a foreign function raised"),
    BAD_WEIGHT: (ValueError, "graphad.random: a log-weight is nan or +inf"),
    NO_WEIGHT: (ValueError, "graphad.random: every log-weight of a row is -inf"),
    TOO_FEW: (ValueError,
              "graphad.random: more draws without replacement than non-zero weights"),
    MOVED: (ValueError, "graphad: a captured array was resized"),
    NOT_REAL: (np.linalg.LinAlgError, "an eigenvalue is negative, and the result complex"),
}  # fmt: skip
