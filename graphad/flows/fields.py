"""What each field of graphad's own parts may hold, checked where a part is read from a file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.flows.archive import Broken
from graphad.flows.bijector import Bijector
from graphad.flows.bijectors.chain import Chain
from graphad.flows.conditioner import ACTIVATIONS, MLP, MaskedMLP
from graphad.flows.distribution import Distribution
from graphad.flows.expression import Expression, Meaning
from graphad.flows.masks import Mask
from graphad.flows.part import Constant, Part, is_own
from graphad.flows.transformers import AffineTransformer, ShiftTransformer, SplineTransformer

LARGEST = 1 << 40  # elements of an event
LOOKED_AT = 1 << 17  # elements of an event whose Jacobian's structure is found while loading
Check = Callable[[Any], bool]


def _whole(v) -> bool:
    return type(v) is int and abs(v) < LARGEST


def _real(v) -> bool:
    return type(v) in (int, float)


def _tuple_of(check: Check) -> Check:
    return lambda v: type(v) is tuple and all(map(check, v))


def _or_none(check: Check) -> Check:
    return lambda v: v is None or check(v)


def _one_of(*classes) -> Check:
    return lambda v: isinstance(v, classes)


def _shape(v) -> bool:
    return type(v) is tuple and all(_whole(d) and d > 0 for d in v) and math.prod(v) < LARGEST


def _array(v) -> bool:
    return isinstance(v, (np.ndarray, np.generic)) and v.dtype.kind == "f"


def _tree(v) -> bool:
    """Arrays in tuples and dicts."""
    if isinstance(v, dict):
        return all(map(_tree, v.values()))
    return v is None or _array(v) or (type(v) is tuple and all(map(_tree, v)))


def _layer(v) -> bool:
    return (isinstance(v, dict) and set(v) == {"weight", "bias"} and all(map(_array, v.values()))
            and v["weight"].ndim == 2 and v["bias"].shape == v["weight"].shape[1:])  # fmt: skip


def _layers(v) -> bool:
    return type(v) is tuple and len(v) > 0 and all(map(_layer, v))


def _function(v) -> bool:
    return callable(v) and not isinstance(v, (Bijector, Distribution, type))


def _activation(v) -> bool:
    return v in ACTIVATIONS if isinstance(v, str) else _function(v)


def _mask(v) -> bool:
    """Each place of the event, or of its last axis, is kept or moved."""
    if not (isinstance(v, Mask) and _tuple_of(_whole)(v.kept) and _tuple_of(_whole)(v.moved)):
        return False
    if not (_shape(v.event) and v.event and type(v.flat) is bool and v.kept and v.moved):
        return False
    size = math.prod(v.event) if v.flat else v.event[-1]
    return size == len(v.kept) + len(v.moved) and _order((*v.kept, *v.moved))


def _order(v) -> bool:
    return _tuple_of(_whole)(v) and sorted(v) == list(range(len(v)))


def _dtype(v) -> bool:
    return v in ("float16", "float32", "float64")


def _transformer(v) -> bool:
    if isinstance(v, AffineTransformer):
        return v.bound is None or (_real(v.bound) and 0 < v.bound < 700)
    if isinstance(v, SplineTransformer):
        ends = _real(v.interval) and 0 < v.interval < math.inf
        return (_whole(v.bins) and 0 < v.bins < 10_000 and ends and _real(v.least)
                and 0 < v.least * v.bins < 1)  # fmt: skip
    return isinstance(v, ShiftTransformer)


def _meaning(v) -> bool:
    return (isinstance(v, Meaning) and isinstance(v.text, str)
            and all(f is None or isinstance(f, Expression) for f in v[:2])
            and (v.inverse is None or _function(v.inverse)))  # fmt: skip


def _domain(v) -> bool:
    return type(v) is tuple and len(v) == 2 and all(map(_real, v)) and v[0] < v[1]


def _masks(v) -> bool:
    return _tuple_of(_one_of(Constant))(v) and all(_array(c.array) for c in v)


KNOWN: dict[str, Check] = {
    "base": _one_of(Distribution), "components": _one_of(Distribution),
    "bijector": _one_of(Bijector), "inner": _one_of(Bijector),
    "parts": lambda v: _tuple_of(_one_of(Bijector))(v) and len(v) > 0,
    "conditioner": _function, "network": _function, "parameters": _tree, "layers": _layers,
    "side": _or_none(_array), "bias": _or_none(_array),
    "_event": _shape, "_out": _shape, "order": _order, "degrees": _tuple_of(_tuple_of(_whole)),
    "axis": _whole, "axes": _whole, "start": _whole, "stop": _whole, "ready": _one_of(bool),
    "_dtype": _or_none(_dtype), "activation": _activation, "f": _function,
    "given_inverse": _or_none(_function), "domain": _domain, "meaning": _meaning, "mask": _mask,
    "masks": _masks, "transformer": _transformer,
}  # fmt: skip


def _broadcast(f) -> bool:
    """Whether the arrays among the fields broadcast; ValueError where not."""
    np.broadcast_shapes(*[np.shape(v) for v in f.values() if _array(v)])
    return True


def _vectors(f) -> bool:
    return _broadcast(f) and max(np.ndim(v) for v in f.values()) > 0


def _triangular(f) -> bool:
    shape = np.shape(f["scale_tril"])
    if len(shape) < 2 or shape[-1] != shape[-2] or np.shape(f["loc"])[-1:] != shape[-1:]:
        return False
    np.broadcast_shapes(shape[:-2], np.shape(f["loc"])[:-1])
    return True


def _transformed(f) -> bool:
    inner, want = tuple(f["base"].event_shape), tuple(f["bijector"].event_shape)
    np.broadcast_shapes(tuple(f["base"].batch_shape), tuple(f["bijector"].batch_shape))
    return len(want) <= len(inner) and want == inner[len(inner) - len(want) :]


def _chained(f) -> bool:
    made = Chain(f["parts"])
    return made._event == f["_event"] and made._out == f["_out"]


def _mixed(f) -> bool:
    logits, batch = np.shape(f["logits"]), tuple(f["components"].batch_shape)
    np.broadcast_shapes(logits, batch)
    return logits[-1:] == batch[-1:] != ()


def _permuted(f) -> bool:
    event, axis = f["_event"], f["axis"]
    return -len(event) <= axis < 0 and len(f["order"]) == event[axis]


def _affine(f) -> bool:
    whole = np.broadcast_shapes(np.shape(f["loc"]), np.shape(f["scale"]))
    event = f["_event"]
    return np.broadcast_shapes(whole[len(whole) - min(len(event), len(whole)) :], event) == event


def _square(f) -> bool:
    d = f["_event"][-1:]
    return (len(d) == 1 and f["lower"].shape == f["upper"].shape == d * 2
            and np.shape(f["log_diagonal"]) == d and len(f["order"]) == d[0]
            and (f["bias"] is None or np.shape(f["bias"]) == d))  # fmt: skip


def _part(f) -> bool:
    event, start, stop = f["_event"], f["start"], f["stop"]
    inside = event != () and 0 <= start < stop <= event[-1]
    return inside and tuple(f["inner"].event_shape) == (*event[:-1], stop - start)


def _chained_layers(f) -> bool:
    pairs = itertools.pairwise(f["layers"])
    return all(a["weight"].shape[1] == b["weight"].shape[0] for a, b in pairs)


def _masked(f) -> bool:
    layers, degrees, masks = f["layers"], f["degrees"], f["masks"]
    if not len(layers) == len(masks) == len(degrees) or len(f["order"]) != len(degrees[0]):
        return False
    widths = [len(d) for d in degrees] == [v["weight"].shape[0] for v in layers]
    shapes = all(v["weight"].shape == m.array.shape for v, m in zip(layers, masks, strict=True))
    side = f["side"] is None or np.shape(f["side"])[1:] == layers[0]["weight"].shape[1:]
    return widths and shapes and side and _chained_layers(f)


def _coupled(f) -> bool:
    net, mask = f["conditioner"], f["mask"]
    if mask.event != f["_event"] or not isinstance(net, MLP):
        return mask.event == f["_event"]
    outputs = net.layers[-1]["weight"].shape[1]
    inputs = net.layers[0]["weight"].shape[0]
    moved, kept = len(mask.moved), len(mask.kept)
    return outputs == f["transformer"].count * moved and inputs >= kept


def _autoregressive(f) -> bool:
    net, size = f["conditioner"], math.prod(f["_event"])
    if not isinstance(net, MaskedMLP):
        return True
    outputs = net.layers[-1]["weight"].shape[1]
    return len(net.order) == size and outputs == f["transformer"].count * size


def _lengths(*names) -> Callable[[dict], bool]:
    """Vectors of one length; the other arrays are numbers."""
    return lambda f: (len({np.shape(f[n]) for n in names}) == 1 and np.ndim(f[names[0]]) == 1
                      and all(np.ndim(v) == 0 for n, v in f.items() if n not in names))  # fmt: skip


TOGETHER: dict[str, Callable[[dict], bool]] = {
    "Normal": _broadcast, "Logistic": _broadcast, "Uniform": _broadcast, "StudentT": _broadcast,
    "MultivariateNormalDiag": _vectors, "MultivariateNormalTril": _triangular,
    "TransformedDistribution": _transformed, "Mixture": _mixed, "Affine": _affine,
    "Independent": lambda f: 0 <= f["axes"] <= len(f["base"].batch_shape),
    "Chain": _chained, "Permute": _permuted, "Partial": _part,
    "Reshape": lambda f: math.prod(f["_event"]) == math.prod(f["_out"]),
    "Squeeze": lambda f: len(f["_event"]) == 3 and all(d % 2 == 0 for d in f["_event"][:2]),
    "LULinear": _square, "Conv1x1": lambda f: len(f["_event"]) == 3 and _square(f),
    "Householder": lambda f: np.ndim(f["vectors"]) == 2
    and np.shape(f["vectors"])[1:] == f["_event"][-1:],
    "ActNorm": lambda f: np.shape(f["loc"]) == np.shape(f["log_scale"]) == f["_event"][-1:],
    "Planar": _lengths("w", "u"), "Radial": _lengths("center"), "MLP": _chained_layers,
    "ConvNet": lambda f: len(f["layers"]) == 3, "MaskedMLP": _masked,
    "AffineCoupling": _coupled, "SplineCoupling": _coupled, "Coupling": _coupled,
    "MaskedAutoregressive": _autoregressive,
    "FromForward": lambda f: math.prod(f["_event"]) <= LOOKED_AT,
}  # fmt: skip


def check_fields(cls: type[Part], fields: dict[str, Any]) -> None:
    """Broken where the fields are not those that the class declares, or one is of another kind."""
    wanted = {n for n in (*cls.children, *cls.settings) if n not in cls.derived}
    if set(fields) != wanted:
        raise Broken(f"a {cls.__name__} has the fields {', '.join(sorted(wanted)) or 'none'}, and "
                     f"not {', '.join(sorted(fields)) or 'none'}"[:300])  # fmt: skip
    if is_own(cls):
        for name, value in fields.items():
            if not KNOWN.get(name, _array)(value):
                raise Broken(f"the field '{name}' of a {cls.__name__} is {value!r}"[:300])
        fits = TOGETHER.get(cls.__name__)
        if fits is not None and not fits(fields):
            raise Broken(f"the fields of a {cls.__name__} do not fit together")
