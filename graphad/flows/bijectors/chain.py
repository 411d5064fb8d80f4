"""Bijectors one after another."""

from __future__ import annotations

from graphad.errors import ShapeError
from graphad.flows.bijector import Bijector, all_over, event_log_det, inverse_of
from graphad.flows.context import spread
from graphad.flows.shapes import together


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
            found = together(found, shape[: len(shape) - extra] if extra else shape)
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
            y, log_det = part._forward(x, spread(context, axes - len(part.event_shape)))
            log_det = event_log_det(log_det, part, x, axes)
            total = log_det if total is None else total + log_det
            x = y
        return x, total

    def _inverse(self, y, context):
        total = None
        for part, axes in zip(self.parts[::-1], self._axes()[::-1], strict=True):
            x, log_det = part._inverse(y, spread(context, axes - len(part.event_shape)))
            log_det = event_log_det(log_det, part, x, axes)
            total = log_det if total is None else total + log_det
            y = x
        return y, total

    def _density_inverse(self, y, context):
        total = inside = None
        for part, axes in zip(self.parts[::-1], self._axes()[::-1], strict=True):
            more = axes - len(part.event_shape)
            x, log_det, here = part._density_inverse(y, spread(context, more))
            log_det = event_log_det(log_det, part, x, axes)
            total = log_det if total is None else total + log_det
            if here is not None:
                here = all_over(here, more)
                inside = here if inside is None else inside & here
            y = x
        return y, total, inside

    def initialised(self, x, context=None):
        """Each part set from the data as it comes to it, the last part first.

        A part that is used twice is set once, by what comes to its last place.
        """
        made: dict[int, Bijector] = {}
        for part, axes in zip(self.parts[::-1], self._axes()[::-1], strict=True):
            given = spread(context, axes - len(part.event_shape))
            if id(part) in made:
                x = inverse_of(made[id(part)], x, given)
            else:
                made[id(part)], x = part.initialised(x, given)
        if all(made[id(p)] is p for p in self.parts):
            return self, x
        return Chain([made[id(p)] for p in self.parts]), x

    def _lines(self, indent):
        return [f"{indent}Chain", *[line for p in self.parts for line in p._lines(indent + "  ")]]
