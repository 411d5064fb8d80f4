"""The arrays that examples in the table name, and helpers to compare results."""

import threading

import numpy as np

_rng = np.random.default_rng(7)


def _floats(*shape):
    return np.round(_rng.uniform(-2, 2, shape), 3)


ARRAYS = {
    "A3": _floats(3),
    "A4": _floats(4),
    "A34": _floats(3, 4),
    "A43": _floats(4, 3),
    "A44": _floats(4, 4),
    "A234": _floats(2, 3, 4),
    "A242": _floats(2, 4, 2),
    "B34": _rng.uniform(size=(3, 4)) > 0.5,
    "K34": np.array([[0, 2, 1, 1], [2, 2, 0, 1], [1, 0, 0, 2]]),
    "K3": np.array([2, 0, 1]),
}


def names_in(example):
    """Array names that an example uses, longest first so that A34 is not read as A3."""
    import re

    return sorted(set(re.findall(r"\b[ABK]\d+\b", example)))


def assert_close(got, want, dtype=np.float64, factor=1.0):
    """Equal up to the rounding of a few operations in this dtype; nan equals nan."""
    tolerance = factor * (1e-12 if np.dtype(dtype) == np.float64 else 2e-5)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def at_once(work, arguments):
    """Run work(argument) in a thread for each argument; the errors that they raised."""
    failed = []

    def guarded(argument):
        try:
            work(argument)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(a,)) for a in arguments]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return failed
