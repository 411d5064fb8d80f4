"""Networks whose results are the parameters of a transform: MLPs, masked MLPs, convolutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

import graphad as ga
from graphad.errors import ShapeError, TraceError
from graphad.flows.axes import taken
from graphad.flows.part import Constant, Part
from graphad.flows.shapes import together


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)


def gelu(x):
    """x Φ(x), Φ the normal distribution's (Hendrycks and Gimpel 2016)."""
    return x * ga.special.ndtr(x)


def silu(x):
    """x / (1 + exp(-x))."""
    return x * ga.special.expit(x)


def elu(x):
    """x, or exp(x) - 1 where x < 0."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def softplus(x):
    """log(1 + exp(x))."""
    return np.logaddexp(x, 0)


ACTIVATIONS: dict[str, Callable] = {
    "relu": relu, "tanh": np.tanh, "gelu": gelu, "silu": silu, "elu": elu,
    "softplus": softplus, "sin": np.sin,
}  # fmt: skip


def as_activation(activation) -> str | Callable:
    """The name of a known activation, or a function."""
    for name, known in ACTIVATIONS.items():
        if activation is known or activation == name:
            return name
    if callable(activation):
        return activation
    raise TraceError("activation", f"no activation {activation!r} is known",
                     expected=", ".join(ACTIVATIONS) + ", or a function", got=repr(activation),
                     fix="activation='relu'")  # fmt: skip


def applied(activation: str | Callable, x):
    """The activation of x."""
    return ACTIVATIONS[activation](x) if isinstance(activation, str) else activation(x)


MASKED = 3.0**-0.5  # the scale of layers of whose weights a mask takes half


def dense(key, inputs: int, outputs: int, dtype, scale: float = 0.4, biased=True):
    """A layer with normal weights and biases of the deviation scale / sqrt(inputs).

    So small, a flow starts near its base and its conditioners near linear, and biases take them
    off the symmetry of tanh: it learns faster than from He's weights with a last layer of almost
    zeros (docs/flows.md).
    """
    weights, biases = ga.random.split(key)
    deviation = np.dtype(dtype).type(scale / math.sqrt(max(inputs, 1)))
    bias = ga.random.normal(biases, outputs, dtype) if biased else np.zeros(outputs, dtype)
    return {"weight": ga.random.normal(weights, (inputs, outputs), dtype) * deviation,
            "bias": bias * deviation}  # fmt: skip


def widths(hidden) -> tuple[int, ...]:
    """Widths of hidden layers; one integer is one layer."""
    return (int(hidden),) if isinstance(hidden, (int, np.integer)) else tuple(hidden)


class MLP(Part):
    """A perceptron: activation(x W + b) in each layer but the last, which is x W + b.

    Args:
        key: draws the weights.
        sizes: inputs, hidden layers ..., outputs.
        activation: a name (relu, tanh, gelu, silu, elu, softplus, sin) or a NumPy function.

    >>> import graphad as ga, numpy as np
    >>> ga.flows.MLP(ga.random.key(0), (3, 16, 2))(np.ones((5, 3))).shape
    (5, 2)
    """

    children = ("layers",)
    settings = ("activation",)

    def __init__(self, key, sizes: Sequence[int], activation="relu", dtype="float64"):
        keys = ga.random.split(key, max(len(sizes) - 1, 1))
        layers = [dense(keys[k], sizes[k], sizes[k + 1], dtype) for k in range(len(sizes) - 1)]
        self._set(layers=tuple(layers), activation=as_activation(activation))

    def __call__(self, x, context=None):
        whole, inputs = joined(x, context), self.layers[0]["weight"].shape[0]
        if whole.shape[-1] != inputs:
            given = "no context" if context is None else f"a context of {context.shape[-1]}"
            raise ShapeError("MLP", "the inputs are not those that it was made for",
                             expected=f"{inputs} features, the context's included",
                             got=f"{x.shape[-1]} and {given}",
                             fix="flow.log_prob(x, context=c) for a flow that was made with "
                             "context=n")  # fmt: skip
        return _network(self, whole)

    def _apply(self, x):
        for layer in self.layers[:-1]:
            x = applied(self.activation, x @ layer["weight"] + layer["bias"])
        return x @ self.layers[-1]["weight"] + self.layers[-1]["bias"]


@ga.function
def _network(network, x):
    return network._apply(x)


def joined(x, context):
    """x with the context after it, along the last axis."""
    if context is None:
        return x
    try:
        lead = together(tuple(x.shape[:-1]), tuple(context.shape[:-1]))
    except ValueError:
        raise ShapeError("context", "its axes before the last are not those of the values",
                         expected=f"shape {(*x.shape[:-1], context.shape[-1])}",
                         got=f"shape {tuple(context.shape)}",
                         fix="one row of context for each value") from None  # fmt: skip
    pieces = [np.broadcast_to(p, (*lead, p.shape[-1])).astype(x.dtype) for p in (x, context)]
    return np.concatenate(pieces, axis=-1)


class MaskedMLP(Part):
    """MADE: result i (of each group) depends on inputs 0 ... i - 1 and on the context alone.

    Germain, Gregor, Murray and Larochelle 2015. Results are `groups` numbers for each of d inputs,
    as (..., groups * d), group by group. "Before" is in the `order` of the inputs, 0 ... d - 1
    where that is None. A hidden unit of degree m sees the first m + 1 inputs, and those of degree
    -1, which there are with a context, see the context alone.

    >>> import graphad as ga, numpy as np
    >>> net = ga.flows.MaskedMLP(ga.random.key(0), 3, (16,), groups=2)
    >>> np.triu(ga.jacobian(net)(np.ones(3))[:3]).any()
    np.False_
    """

    children = ("layers", "side")
    settings = ("activation", "order", "degrees", "masks")
    gain = 2.0  # of the results, drawn smaller by as much: the last layer learns twice as fast

    def __init__(self, key, features: int, hidden=(64, 64), groups=1, context=0,
                 activation="relu", dtype="float64", order=None):  # fmt: skip
        order = tuple(range(features)) if order is None else tuple(int(k) for k in order)
        degrees = [np.argsort(order)]
        lowest, hidden = -1 if context else 0, widths(hidden)
        for width in hidden:
            several = np.arange(width) % max(features - 1 - lowest, 1)
            degrees.append(lowest + np.sort(several))
        sizes = [features, *hidden, groups * features]
        masks = [before[:, None] <= after for before, after in
                 itertools.pairwise(degrees)]  # fmt: skip
        masks.append(np.tile(degrees[-1][:, None] < degrees[0], groups))
        keys = ga.random.split(key, len(sizes))
        scales = [MASKED] * len(hidden) + [MASKED / self.gain]
        layers = [dense(keys[k], sizes[k], sizes[k + 1], dtype, scales[k])
                  for k in range(len(scales))]  # fmt: skip
        side = None
        if context:
            side = dense(keys[-1], context, sizes[1], dtype)["weight"]
        self._set(layers=tuple(layers), side=side, activation=as_activation(activation),
                  order=order, degrees=tuple(tuple(d.tolist()) for d in degrees),
                  masks=tuple(Constant(m.astype(dtype)) for m in masks))  # fmt: skip

    def __call__(self, x, context=None):
        return _masked(self, x, context)

    def _apply(self, x, context):
        beside = self._beside(x, context)
        for k, (layer, mask) in enumerate(zip(self.layers, self.masks, strict=True)):
            x = x @ (layer["weight"] * mask.array) + layer["bias"]
            if k == 0 and beside is not None:
                x = x + beside
            if k < len(self.layers) - 1:
                x = applied(self.activation, x)
        return self.gain * x

    def _beside(self, x, context):
        """What a context adds to the first layer."""
        if context is None:
            return None
        if self.side is None:
            raise ShapeError("MaskedMLP", "it was made without a context", got="a context",
                             expected="context=n", fix="MaskedMLP(..., context=n)")  # fmt: skip
        return context.astype(x.dtype) @ self.side

    def in_turn(self, x, move, context=None):
        """(y, log-slopes): y_i = move(x_i, results i of the network for y) for one i after another.

        Each unit is computed once, as soon as the elements that it sees are there, so that all of
        it is the work of one pass.
        """
        beside = self._beside(x, context)
        top = len(self.degrees[0])
        ends = [np.searchsorted(d, range(-1, top + 1)).tolist() for d in self.degrees]
        ys, slopes, seen = [], [], [[] for _ in self.degrees]

        def units(k, start, stop, sources, columns):
            """Units start ... stop of layer k, from what is known of the layer before."""
            layer = self.layers[k]
            out = layer["bias"][columns]
            if sources:
                known = sources[0] if len(sources) == 1 else np.concatenate(sources, -1)
                weight = layer["weight"][:, columns]
                rows = self.order[: known.shape[-1]] if sources is ys else range(known.shape[-1])
                out = known @ taken(weight, tuple(rows), -2) + out
            if k == 0 and beside is not None:
                out = beside[..., start:stop] + out
            return out

        def grow(i):
            """The hidden units of degree i."""
            for k in range(len(self.layers) - 1):
                start, stop = ends[k + 1][i + 1], ends[k + 1][i + 2]
                if stop > start:
                    sources = ys if k == 0 else seen[k]
                    out = units(k, start, stop, sources, slice(start, stop))
                    out = np.broadcast_to(out, (*x.shape[:-1], stop - start))
                    seen[k + 1].append(applied(self.activation, out))

        grow(-1)
        d = len(self.degrees[0])
        for i, place in enumerate(self.order):
            last = seen[-1] if len(self.layers) > 1 else ys
            raw = units(len(self.layers) - 1, 0, 0, last, slice(place, None, d))
            raw = np.broadcast_to(self.gain * raw, (*x.shape[:-1], raw.shape[-1]))
            one = x[..., place : place + 1]
            y, slope = move(one, [raw[..., k : k + 1] for k in range(raw.shape[-1])])
            ys.append(y)
            slopes.append(slope)
            grow(i)
        back = np.argsort(self.order)
        return tuple(np.concatenate([v[k] for k in back], -1) for v in (ys, slopes))


@ga.function
def _masked(network, x, context):
    return network._apply(x, context)


class ConvNet(Part):
    """Convolutions 3 x 3, 1 x 1, 3 x 3 of images (..., h, w, c), padded with zeros.

    The network of a Glow step (Kingma and Dhariwal 2018, section 5).

    >>> import graphad as ga, numpy as np
    >>> ga.flows.ConvNet(ga.random.key(0), 2, 8, 4)(np.ones((5, 6, 6, 2))).shape
    (5, 6, 6, 4)
    """

    children = ("layers",)
    settings = ("activation",)

    def __init__(self, key, channels: int, hidden: int, outputs: int, activation="relu",
                 dtype="float64"):  # fmt: skip
        one, two, three = ga.random.split(key, 3)
        layers = (dense(one, 9 * channels, hidden, dtype, math.sqrt(2.0), False),
                  dense(two, hidden, hidden, dtype, math.sqrt(2.0), False),
                  dense(three, 9 * hidden, outputs, dtype, 0.01, False))  # fmt: skip
        self._set(layers=layers, activation=as_activation(activation))

    def __call__(self, x, context=None):
        if context is not None:
            context = np.broadcast_to(context[..., None, None, :],
                                      (*x.shape[:-1], context.shape[-1]))  # fmt: skip
        return _network(self, joined(x, context))

    def _apply(self, x):
        first, middle, last = self.layers
        x = applied(self.activation, neighbours(x) @ first["weight"] + first["bias"])
        x = applied(self.activation, x @ middle["weight"] + middle["bias"])
        return neighbours(x) @ last["weight"] + last["bias"]


def neighbours(x):
    """Each pixel's 3 x 3 neighbourhood as channels: (..., h, w, 9 c)."""
    h, w = x.shape[-3:-1]
    around = [(0, 0)] * (len(x.shape) - 3)
    padded = np.pad(x, [*around, (1, 1), (1, 1), (0, 0)])
    pieces = [padded[..., i : i + h, j : j + w, :] for i in range(3) for j in range(3)]
    return np.concatenate(pieces, axis=-1)


class Function(Part):
    """A conditioner of one's own: f(params, x, context=None), with a pytree of parameters.

    >>> import graphad as ga, numpy as np
    >>> net = ga.flows.Function(lambda p, x: p["a"] * x, {"a": np.array(2.0)})
    >>> net(np.ones(2))
    array([2., 2.])
    """

    children = ("parameters",)
    settings = ("f",)

    def __init__(self, f: Callable, parameters=None):
        self._set(f=f, parameters=parameters)

    def __call__(self, x, context=None):
        return self.f(self.parameters, x, *(() if context is None else (context,)))
