"""Bijectors one after another, inverted, or on part of the event."""

from __future__ import annotations

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector, event_log_det
from graphad.flows.bijectors.permute import nothing


class Chain(Bijector):
    """y = parts[-1](... parts[0](x)): the first part is applied first; log-dets add up.

    A part with a smaller event than its neighbours maps each of its events, and its log-dets are
    summed. (TFP's Chain lists them in the opposite order.)

    >>> import graphad as ga
    >>> ga.flows.Chain([ga.flows.Affine(1.0, 2.0), ga.flows.Affine(0.0, 3.0)]).forward(1.0)
    np.float64(9.0)
    """

    children = ("parts",)
    settings = ("_event", "_out")

    def __init__(self, parts):
        parts = tuple(parts)
        if not parts or not all(isinstance(p, Bijector) for p in parts):
            raise ShapeError("Chain", "a chain is made of bijectors", expected="one or more",
                             got=", ".join(type(p).__name__ for p in parts) or "none",
                             fix="Chain([Affine(...), Permute(...)])")  # fmt: skip
        event = out = parts[0].event_shape
        for k, part in enumerate(parts):
            fresh = tuple(part.event_shape)
            if len(fresh) > len(out):  # what came before maps parts of a larger event
                grown = all(tuple(p.event_shape) == tuple(p.event_shape_out) for p in parts[:k])
                if grown and (not out or fresh[-len(out) :] == tuple(out)):
                    event = out = fresh
            if fresh != tuple(out)[len(out) - len(fresh) :]:
                raise ShapeError("Chain", f"part {k}, {type(part).__name__}, does not fit",
                                 expected=f"event shape {tuple(out)}, or its last axes",
                                 got=f"event shape {fresh}",
                                 fix="a Reshape between them")  # fmt: skip
            out = (*tuple(out)[: len(out) - len(fresh)], *part.event_shape_out)
        self._set(parts=parts, _event=tuple(event), _out=tuple(out))

    @property
    def event_shape(self):
        """That of the first part, or of the largest where they differ."""
        return self._event

    @property
    def event_shape_out(self):
        """What the last part gives."""
        return self._out

    @property
    def batch_shape(self):
        """Those of the parts together."""
        found = ()
        for p, axes in zip(self.parts, self._axes(), strict=True):
            shape = tuple(p.batch_shape)
            extra = axes - len(p.event_shape)
            found = np.broadcast_shapes(found, shape[: len(shape) - extra] if extra else shape)
        return found

    def _axes(self):
        """Event axes of what goes into each part."""
        axes, found = len(self._event), []
        for p in self.parts:
            found.append(axes)
            axes += len(p.event_shape_out) - len(p.event_shape)
        return found

    def _forward(self, x, context):
        total = None
        for part, axes in zip(self.parts, self._axes(), strict=True):
            y, log_det = part._forward(x, context)
            log_det = event_log_det(log_det, part, x, axes)
            total = log_det if total is None else total + log_det
            x = y
        return x, total

    def _inverse(self, y, context):
        total = None
        for part, axes in zip(self.parts[::-1], self._axes()[::-1], strict=True):
            x, log_det = part._inverse(y, context)
            log_det = event_log_det(log_det, part, x, axes)
            total = log_det if total is None else total + log_det
            y = x
        return y, total

    def initialised(self, x, context=None):
        """Each part set from the data as it comes to it, the last part first."""
        parts = list(self.parts)
        for k in reversed(range(len(parts))):
            parts[k], x = parts[k].initialised(x, context)
        return Chain(parts), x

    def _lines(self, indent):
        return [f"{indent}Chain", *[line for p in self.parts for line in p._lines(indent + "  ")]]


class Invert(Bijector):
    """A bijector the other way round: forward is its inverse.

    >>> import graphad as ga
    >>> ga.flows.Invert(ga.flows.Affine(1.0, 2.0)).forward(7.0)
    np.float64(3.0)
    """

    children = ("inner",)

    def __init__(self, inner: Bijector):
        self._set(inner=inner)

    @property
    def event_shape(self):
        """What the inner one gives."""
        return self.inner.event_shape_out

    @property
    def event_shape_out(self):
        """What goes into the inner one."""
        return self.inner.event_shape

    @property
    def batch_shape(self):
        """That of the inner one."""
        return self.inner.batch_shape

    def _forward(self, x, context):
        return self.inner._inverse(x, context)

    def _inverse(self, y, context):
        return self.inner._forward(y, context)

    def _lines(self, indent):
        return [f"{indent}Invert", *self.inner._lines(indent + "  ")]


class Partial(Bijector):
    """A bijector on elements start ... stop of the last axis; the others stay as they are.

    With it, a flow of several scales leaves half of its channels alone after each
    (Dinh, Sohl-Dickstein and Bengio 2017, section 3.6).

    >>> import graphad as ga, numpy as np
    >>> half = ga.flows.Partial(ga.flows.Affine(np.ones(1)), (2,), 1, 2)
    >>> half.forward(np.zeros(2))
    array([0., 1.])
    """

    children = ("inner",)
    settings = ("_event", "start", "stop")

    def __init__(self, inner: Bijector, event_shape, start: int, stop: int):
        event = tuple(event_shape)
        part = (*event[:-1], stop - start)
        if not 0 <= start < stop <= event[-1] or tuple(inner.event_shape) != part:
            raise ShapeError("Partial", "the inner bijector does not fit", expected=f"event shape "
                             f"{part}", got=str(tuple(inner.event_shape)),
                             fix="a bijector of the part's shape")  # fmt: skip
        self._set(inner=inner, _event=event, start=start, stop=stop)

    @property
    def event_shape(self):
        """The whole event."""
        return self._event

    def _joined(self, x, y):
        pieces = [x[..., : self.start], y, x[..., self.stop :]]
        kept = [p for p in pieces if p.shape[-1]]
        return kept[0] if len(kept) == 1 else np.concatenate(kept, axis=-1)

    def _apply(self, x, run, context):
        y, log_det = run(x[..., self.start : self.stop], context)
        return self._joined(x, y), log_det + nothing(x, self._event)

    def _forward(self, x, context):
        return self._apply(x, self.inner._forward, context)

    def _inverse(self, y, context):
        return self._apply(y, self.inner._inverse, context)

    def initialised(self, x, context=None):
        """The inner one set from its part of the data."""
        inner, y = self.inner.initialised(x[..., self.start : self.stop], context)
        return Partial(inner, self._event, self.start, self.stop), self._joined(x, y)

    def _lines(self, indent):
        return [f"{indent}Partial {self.start}:{self.stop}", *self.inner._lines(indent + "  ")]
