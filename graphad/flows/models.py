"""Flows ready to use: RealNVP, NSF, MAF, IAF, and Glow for images."""

from __future__ import annotations

import math

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector
from graphad.flows.bijectors.act_norm import ActNorm
from graphad.flows.bijectors.affine_coupling import AffineCoupling
from graphad.flows.bijectors.autoregressive import MaskedAutoregressive
from graphad.flows.bijectors.chain import Chain
from graphad.flows.bijectors.conv1x1 import Conv1x1
from graphad.flows.bijectors.invert import Invert
from graphad.flows.bijectors.partial import Partial
from graphad.flows.bijectors.reshape import Reshape
from graphad.flows.bijectors.spline_coupling import SplineCoupling
from graphad.flows.bijectors.squeeze import Squeeze
from graphad.flows.conditioner import ConvNet
from graphad.flows.masks import mask_of
from graphad.flows.normal import StandardNormal
from graphad.flows.shapes import as_shape
from graphad.flows.transformed import TransformedDistribution


def _keys(name: str, key, count: int):
    if key is None:
        raise ShapeError(name, "its weights are drawn at random", expected="a key", got="none",
                         fix=f"{name}(event_shape=(8,), key=ga.random.key(0))")  # fmt: skip
    if count < 1:
        raise ShapeError(name, "a flow has layers", expected="transforms of 1 or more",
                         got=str(count), fix="transforms=8")  # fmt: skip
    return ga.random.split(key, count)


def _masks(mask, event, key, count: int) -> list:
    """(mask, flip) of each coupling: what one keeps the next one moves; 'random' masks are drawn
    anew for each pair of couplings."""
    if not (isinstance(mask, str) and mask == "random"):
        return [(mask, k % 2 == 1) for k in range(count)]
    found, size = [], math.prod(event)
    for k in range(count):
        if k % 2 == 0:
            order = np.asarray(ga.random.permutation(ga.random.fold_in(key, k), size))
            kept = (order < max(size // 2, 1)).reshape(event)
        found.append((kept, k % 2 == 1))
    return found


def _flow(event, parts, dtype) -> TransformedDistribution:
    return TransformedDistribution(StandardNormal(event, dtype), Chain(parts), dtype)


def RealNVP(event_shape, transforms=8, hidden=(64, 64), activation="relu", dtype="float64",
            key=None, context=0, mask="half", bound=5.0):  # fmt: skip
    """Affine couplings on a standard normal, which keep one part and the other in turn.

    Dinh, Sohl-Dickstein and Bengio 2017.

    Args:
        event_shape: of one outcome, which has one log-density; (32, 32, 3) for images.
        transforms: number of couplings.
        hidden, activation: of their MLPs.
        dtype: of parameters and draws.
        key: draws the weights; the flow starts near the standard normal.
        context: features of a context that every coupling sees, 0 for none.
        mask: see `AffineCoupling`; or 'random', drawn anew for each pair of couplings.
        bound: see `AffineCoupling`.

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.RealNVP(event_shape=(32, 32, 3), hidden=(8,), key=ga.random.key(0))
    >>> flow.log_prob(np.zeros((32, 32, 3))).shape, flow.log_prob(np.zeros((2, 32, 32, 3))).shape
    ((), (2,))
    """
    event = as_shape("RealNVP", event_shape)
    keys = _keys("RealNVP", key, transforms)
    parts = [AffineCoupling(event, mask=m, flip=flip, key=keys[k], hidden=hidden,
                            activation=activation, context=context, dtype=dtype, bound=bound)
             for k, (m, flip) in enumerate(_masks(mask, event, key, transforms))]  # fmt: skip
    return _flow(event, parts, dtype)


def NSF(event_shape, transforms=8, hidden=(64, 64), activation="relu", dtype="float64", key=None,
        context=0, mask="half", bins=8, interval=5.0, autoregressive=False):  # fmt: skip
    """Neural spline flow: spline couplings, or splines in an autoregressive flow.

    Durkan, Bekasov, Murray and Papamakarios 2019. Splines act on [-interval, interval]: scale the
    data to a deviation near 1.

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.NSF(event_shape=(4,), transforms=2, key=ga.random.key(0))
    >>> flow.log_prob(np.zeros((5, 4))).shape
    (5,)
    """
    event = as_shape("NSF", event_shape)
    if autoregressive:
        return MAF(event, transforms, hidden, activation, dtype, key, context, True, bins, interval)
    keys = _keys("NSF", key, transforms)
    parts = [SplineCoupling(event, mask=m, flip=flip, key=keys[k], hidden=hidden,
                            activation=activation, context=context, dtype=dtype, bins=bins,
                            interval=interval)
             for k, (m, flip) in enumerate(_masks(mask, event, key, transforms))]  # fmt: skip
    return _flow(event, parts, dtype)


def _autoregressive(name, event_shape, transforms, hidden, activation, dtype, key, context, spline,
                    bins, interval, invert):  # fmt: skip
    event = as_shape(name, event_shape)
    size = math.prod(event)
    keys = _keys(name, key, transforms)
    parts: list[Bijector] = [] if len(event) == 1 else [Reshape(event, (size,))]
    for k in range(transforms):
        layer = MaskedAutoregressive(
            (size,), spline=spline, key=keys[k], hidden=hidden, activation=activation,
            context=context, dtype=dtype, bins=bins, interval=interval,
            order=order_of(keys[k], transforms - 1 - k, size),
        )  # fmt: skip
        parts.append(Invert(layer) if invert else layer)
    if len(event) != 1:
        parts.append(Reshape((size,), event))
    return _flow(event, parts, dtype)


def order_of(key, k: int, size: int) -> tuple[int, ...]:
    """The order of the elements in layer k from the data: theirs, then random; of two in turn."""
    if k == 0 or size < 3:
        return tuple(range(size))[:: -1 if k % 2 else 1]
    return tuple(np.asarray(ga.random.permutation(ga.random.fold_in(key, 1), size)).tolist())


def MAF(event_shape, transforms=8, hidden=(64, 64), activation="relu", dtype="float64", key=None,
        context=0, spline=False, bins=8, interval=5.0):  # fmt: skip
    """Masked autoregressive flow: log_prob in one pass of each network, draws element by element.

    Papamakarios, Pavlakou and Murray 2017; each layer has a random order of the elements.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.MAF((3,), transforms=2, key=ga.random.key(0)).log_prob(np.zeros((5, 3))).shape
    (5,)
    """
    return _autoregressive("MAF", event_shape, transforms, hidden, activation, dtype, key, context,
                           spline, bins, interval, False)  # fmt: skip


def IAF(event_shape, transforms=8, hidden=(64, 64), activation="relu", dtype="float64", key=None,
        context=0, spline=False, bins=8, interval=5.0):  # fmt: skip
    """Inverse autoregressive flow: draws in one pass of each network, log_prob element by element.

    Kingma et al. 2016. `sample_and_log_prob` is one pass too, which is what variational inference
    needs.

    >>> import graphad as ga
    >>> ga.flows.IAF((3,), transforms=2, key=ga.random.key(0)).sample(ga.random.key(1), (5,)).shape
    (5, 3)
    """
    return _autoregressive("IAF", event_shape, transforms, hidden, activation, dtype, key, context,
                           spline, bins, interval, True)  # fmt: skip


def Glow(event_shape, transforms=8, hidden=64, activation="relu", dtype="float64", key=None,
         context=0, levels=2):  # fmt: skip
    """Glow for images (h, w, c): `transforms` steps at each of `levels` scales.

    A step is ActNorm, Conv1x1 and an affine coupling of channels with a convolutional network of
    width `hidden`. After each scale but the last, half of the channels are done. Kingma and
    Dhariwal 2018.

    >>> import graphad as ga, numpy as np
    >>> flow = ga.flows.Glow((8, 8, 1), transforms=1, hidden=8, key=ga.random.key(0))
    >>> flow.log_prob(np.zeros((3, 8, 8, 1))).shape
    (3,)
    """
    event = as_shape("Glow", event_shape)
    width = hidden if isinstance(hidden, (int, np.integer)) else hidden[0]
    if len(event) != 3 or event[0] % 2**levels or event[1] % 2**levels:
        raise ShapeError("Glow", "the image cannot be halved so often",
                         expected=f"(h, w, c), h and w multiples of {2**levels}", got=str(event),
                         fix="levels=1, or np.pad")  # fmt: skip
    keys = iter(_keys("Glow", key, 2 * transforms * levels))

    def scale(shape, levels) -> Bijector:
        squeeze = Squeeze(shape)
        inner = squeeze.event_shape_out
        steps: list[Bijector] = []
        for k in range(transforms):
            mask = mask_of(inner, "channel", k % 2 == 1)
            net = ConvNet(next(keys), len(mask.kept) + context, width, 2 * len(mask.moved),
                          activation, dtype)  # fmt: skip
            steps += [AffineCoupling(inner, net, mask), Conv1x1(inner, next(keys), dtype=dtype),
                      ActNorm(inner, dtype)]  # fmt: skip
        if levels > 1:
            half = inner[-1] // 2
            rest = scale((*inner[:-1], half), levels - 1)
            steps.insert(0, Partial(rest, inner, inner[-1] - half, inner[-1]))
        return Chain([squeeze, *steps, Invert(squeeze)])

    return _flow(event, [scale(event, levels)], dtype)
