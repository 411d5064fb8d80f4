"""A linear map across the channels of an image."""

from __future__ import annotations

from graphad.errors import ShapeError
from graphad.flows.bijectors.lu_linear import LULinear
from graphad.flows.shapes import as_shape


class Conv1x1(LULinear):
    """LULinear across the channels of an image (h, w, c): log-det h w sum log_diagonal.

    Kingma and Dhariwal 2018, equation 9.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.Conv1x1((4, 4, 3)).forward_and_log_det(np.ones((7, 4, 4, 3)))[1].shape
    (7,)
    """

    def __init__(self, event_shape, key=None, bias=False, dtype="float64"):
        event = as_shape("Conv1x1", event_shape)
        if len(event) != 3:
            raise ShapeError("Conv1x1", "an image has three axes", expected="(h, w, c)",
                             got=str(event), fix="LULinear for vectors")  # fmt: skip
        super().__init__(event, key, bias, dtype)
