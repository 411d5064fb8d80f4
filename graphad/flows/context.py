"""What a density is conditioned on: checked once, at the distribution or bijector that is called.

A context is (..., features). The axes before its last broadcast with those of values and draws
before the event, as NumPy's would.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.flows.part import Part
from graphad.flows.shapes import as_value, together

MAY, MUST = "may", "must"  # of functions, whose features are not known


def without(part: Part, method: str) -> None:
    """Raise where a part that is called without a context needs one; it remembers that not."""
    if "_alone" not in part.__dict__:
        checked(part, method, None)
        part.__dict__["_alone"] = True


def checked(part: Part, method: str, context: Any) -> Any:
    """The context of a call of a part, as a value; ShapeError where it is not what parts take."""
    needs, name = part.context_needs(), f"{type(part).__name__}.{method}"
    sizes = sorted(n for n in needs if isinstance(n, int))
    wanted = f"(..., {sizes[0] if sizes else 'features'})"
    if context is None:
        if sizes or MUST in needs:
            raise ShapeError(name, "it needs a context", expected=f"context= of shape {wanted}",
                             got="no context", fix=f"{method}(..., context=c)")  # fmt: skip
        return None
    context = as_value("context", context)
    shape = tuple(context.shape)
    if not needs:
        raise ShapeError(name, "it takes no context", expected="no context",
                         got=f"a context of shape {shape}",
                         fix="a flow that is made with context=n")  # fmt: skip
    if len(sizes) > 1:
        raise ShapeError(name, "its parts take contexts of different features",
                         expected="parts that are made with one context=n",
                         got=", ".join(map(str, sizes)), fix="one number for all")  # fmt: skip
    if not shape or (sizes and shape[-1] != sizes[0]):
        raise ShapeError(name, "the context has other features than it was made for",
                         expected=f"shape {wanted}", got=f"shape {shape}",
                         fix=f"context=n where the flow is made, or context[..., "
                         f":{sizes[0] if sizes else 'n'}]")  # fmt: skip
    return context


def lead_with(name: str, lead: tuple, context: Any) -> tuple:
    """The axes before the event that values and a context have together."""
    if context is None:
        return lead
    rows = tuple(context.shape[:-1])
    try:
        return together(lead, rows)
    except ValueError:
        raise ShapeError(name, "the context does not broadcast with the values or draws",
                         expected=f"a context of shape {(*lead, context.shape[-1])}, or sizes of 1",
                         got=f"shape {tuple(context.shape)} beside {lead}",
                         fix="context[:, None], or sample_shape=(n, 1)") from None  # fmt: skip


def beside(name: str, x: Any, axes: int, context: Any) -> Any:
    """Values of events of so many axes, repeated for each context."""
    if context is None:
        return x
    shape = tuple(x.shape)
    lead = lead_with(name, shape[: len(shape) - axes], context)
    whole = (*lead, *shape[len(shape) - axes :])
    return x if whole == shape else np.broadcast_to(x, whole)


def spread(context: Any, axes: int) -> Any:
    """A context for parts that map smaller events: so many more axes of 1 before its last."""
    return context if context is None or axes == 0 else context[(..., *(None,) * axes, slice(None))]
