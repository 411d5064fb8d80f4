"""Training a flow by maximum likelihood: the loss, its gradient and Adam as one program."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import ShapeError
from graphad.flows.bijector import inverse_with_log_det
from graphad.flows.bijectors.act_norm import ActNorm
from graphad.flows.bijectors.chain import Chain
from graphad.flows.constraints import Constraint, constrained, freed
from graphad.flows.context import checked, lead_with, spread
from graphad.flows.part import _items, places_of
from graphad.flows.shapes import fit as fits

EVALUATIONS = 50  # of the validation loss in a run
JUDGED = 32  # batches of data by which the result is chosen where nothing is held out


@dataclasses.dataclass
class History:
    """What happened in training; losses are mean negative log-likelihoods of an event, in nats.

    `loss` has one entry a step, `validation` pairs (step, loss); `stopped` says why it ended before
    all steps, or is None.
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    validation: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    best_step: int = 0
    seconds: float = 0.0
    stopped: str | None = None


class TrainingStopped(UserWarning):
    """Training met a loss or gradient that is not finite, and returns what it had before."""


def fit(flow, x, *, key, steps=1000, batch_size=256, learning_rate=1e-3, validation=None,
        progress=True, context=None, clip=10.0, patience=10, trainable=None):  # fmt: skip
    """Train by Adam on the mean of -log p(x); (the trained flow, its `History`).

    Args:
        x: (n, *event_shape), the data.
        key: orders the data; the same key gives the same training.
        steps, batch_size: updates, and rows for each; every row once before any comes again.
        learning_rate: a number, or a function of the step.
        validation: rows of their own, or (rows, context), or the part of x (such as 0.1) to hold
            out. With it the parameters of the best validation loss are returned, and training ends
            early after `patience` evaluations (of 50 in a run) without a better one.
        progress: a bar with loss and rate (by rich where it is installed).
        context: (n, features), for flows that take one.
        clip: gradients of a larger norm are shortened to it; None for never.
        trainable: which parameters move: the name of a part such as 'bijector.parts.1', a list of
            such names, or a function of a parameter's name.

    `ActNorm`s are first set from the data. Scales stay positive: it is their logarithms that
    move. A part that is used twice stays one. What is returned is finite, and the best that was
    seen: by the held-out rows, or, of the start, the end and where the losses were lowest, by the
    first rows of the data. A loss or gradient that is not finite ends training with a
    `TrainingStopped` warning that names the step and the layer.

    >>> import numpy as np, graphad as ga
    >>> x = ga.random.normal(ga.random.key(1), (500, 1), loc=3.0)
    >>> flow = ga.flows.TransformedDistribution(
    ...     ga.flows.StandardNormal((1,)), ga.flows.Affine(np.zeros(1), np.ones(1)))
    >>> flow, history = flow.fit(x, key=ga.random.key(2), steps=300, batch_size=100,
    ...                          learning_rate=0.05, progress=False)
    >>> bool(abs(flow.bijector.loc[0] - x.mean()) < 0.1)
    True
    """
    name, whole = f"{type(flow).__name__}.fit", (*flow.batch_shape, *flow.event_shape)
    x = fits(name, x, whole).astype(flow.dtype)
    if len(x.shape) != len(whole) + 1 or not len(x):
        raise ShapeError(name, "the data are rows of events", expected=f"shape (n, *{whole}), n "
                         ">= 1", got=str(x.shape),
                         fix="x.reshape(-1, *flow.event_shape)")  # fmt: skip
    if steps < 0 or batch_size < 1:
        raise ShapeError(name, "a training has steps, and rows for each",
                         expected="steps >= 0, batch_size >= 1", fix="steps=1000, batch_size=256",
                         got=f"steps={steps}, batch_size={batch_size}")  # fmt: skip
    given = _rows_of(flow, "fit", context, len(x))
    order, batches = ga.random.split(key, 2)
    x, given, held = _held_out(flow, x, given, validation, order)
    run = _Run(flow, x, given, held, batches, min(batch_size, len(x)), clip, trainable)
    return run.train(steps, learning_rate, patience, progress)


def _held_out(flow, x, context, validation, key):
    """(training rows, their context, (validation rows, theirs) or None)."""
    if validation is None:
        return x, context, None
    if isinstance(validation, float):
        count = round(validation * len(x))
        if not 0 < count < len(x):
            raise ShapeError("fit", "the part held out is no part of the data",
                             expected="between 0 and 1, with a row on either side",
                             got=f"{validation} of {len(x)} rows",
                             fix="validation=0.1")  # fmt: skip
        rows = np.asarray(ga.random.permutation(key, len(x)))
        held, kept = rows[:count], rows[count:]
        context_held = None if context is None else context[held]
        return x[kept], None if context is None else context[kept], (x[held], context_held)
    theirs = None
    if isinstance(validation, tuple) and len(validation) == 2:
        validation, theirs = validation
    if (theirs is None) != (context is None):
        raise ShapeError("fit", "validation rows and a context go together",
                         expected="validation=(rows, context), or a part such as 0.1",
                         got="only one of them", fix="validation=0.1")  # fmt: skip
    rows = fits("fit(validation=)", validation, (*flow.batch_shape, *flow.event_shape)).astype(
        flow.dtype
    )
    if not len(rows):
        raise ShapeError("fit", "there are no validation rows", expected="one or more",
                         got=str(rows.shape), fix="validation=0.1")  # fmt: skip
    return x, context, (rows, _rows_of(flow, "fit", theirs, len(rows)))


def _rows_of(flow, method: str, context, count: int):
    """A context for each row of the data."""
    context = checked(flow, method, context)
    if context is None:
        return None
    name = f"{type(flow).__name__}.{method}"
    rows = lead_with(name, (count,), context)
    if rows != (count,):
        raise ShapeError(name, "the context is one row for each of the data",
                         expected=f"shape ({count}, {context.shape[-1]})",
                         got=str(tuple(context.shape)),
                         fix="context.reshape(len(x), -1)")  # fmt: skip
    return np.broadcast_to(context, (count, context.shape[-1])).astype(flow.dtype)


@ga.function
def _mean_loss(flow, x, context):
    return -flow._log_prob(x, spread(context, len(flow.batch_shape))).mean()


THETA, MEAN, SQUARE, SEEN = range(4)  # rows of the state; the last has the loss and the norm


class _Best:
    """What had the lowest score of what was offered; one that is not finite is passed over."""

    def __init__(self):
        self.score, self.theta, self.step, self.waited = math.inf, None, 0, 0

    def offer(self, score: float, theta: Any, step: int) -> None:
        """Keep it where it is the best so far; of equals the first."""
        if score < self.score:
            kept = theta.copy() if isinstance(theta, np.ndarray) else theta
            self.score, self.theta, self.step, self.waited = score, kept, step, 0
        else:
            self.waited += 1


class _Run:
    """One training: the flow, the data, and the step as one program.

    The state is one array of all parameters and moments. A step writes it into a second one, and
    the two change roles, so nothing is allocated.
    """

    def __init__(self, flow, x, context, held, key, batch_size, clip, trainable):
        self.x, self.context, self.held, self.key = x, context, held, key
        self.batch_size, self.clip = batch_size, clip
        few = slice(0, JUDGED * batch_size)
        self.judged = x[few], None if context is None else context[few]
        if _has_act_norm(flow):
            first = x[: max(batch_size, 512)]
            flow = flow.initialised(
                first,
                None if context is None else spread(context[: len(first)], len(flow.batch_shape)),
            )
        self.flow = flow
        chosen = _chosen(flow, trainable)
        moved = {p.first: p for p in places_of(flow) if p.first == p.name}
        moved = {n: p for n, p in moved.items() if n in chosen}
        if not moved:
            raise ShapeError("fit", "there is nothing to train",
                             expected="one parameter or more", got="none",
                             fix="trainable=None, or parameters as arrays")  # fmt: skip
        self.places: dict[str, tuple[int, np.ndarray, Constraint | None]] = {}
        free, size = [], 0
        for name, place in moved.items():
            value = np.asarray(place.value)
            self.places[name] = size, value, place.constraint
            free.append(freed(name, value, place.constraint).ravel())
            size += value.size
        dtype = np.result_type(*[v.dtype for v in free])
        self.state = np.zeros((4, max(size, 2)), dtype)
        self.state[THETA, :size] = np.concatenate(free)
        self.spare = np.empty_like(self.state)
        self.step = ga.function(self._stepped, name="fit.step")

    def _named(self, theta) -> dict[str, Any]:
        """The parameters that the free numbers in a row of the state mean."""
        made = {}
        for name, (start, value, constraint) in self.places.items():
            free = theta[start : start + value.size].reshape(value.shape)
            made[name] = constrained(free, constraint).astype(value.dtype)
        return made

    def _stepped(self, state, rate, count, x, context):
        """The state after one step of Adam; as it was where the loss or gradient is not finite."""

        def loss_of(theta):
            return _mean_loss(self.flow.replace(self._named(theta)), x, context)

        theta = state[THETA]
        loss, gradient = ga.value_and_grad(loss_of)(theta)
        norm = np.sqrt((gradient.astype("f8") ** 2).sum())
        if self.clip is not None:
            factor = self.clip / np.maximum(norm, self.clip)
            gradient = gradient * factor.astype(gradient.dtype)
        before = ga.optim.AdamState(count, state[MEAN], state[SQUARE])
        moved, after = ga.optim.adam(rate).update(gradient, before, theta)
        fresh = np.stack([moved, after.mean, after.square])
        ok = np.isfinite(loss) & np.isfinite(norm)
        rest = np.zeros(state.shape[1] - 2, state.dtype)
        seen = np.concatenate([np.stack([loss, norm.astype(loss.dtype)]).astype(state.dtype), rest])
        return np.concatenate([np.where(ok, fresh, state[:SEEN]), seen[None]])

    def current(self, theta=None):
        """The flow with the parameters as they are now, or as these free numbers mean."""
        theta = (self.state[THETA] if theta is None else theta).copy()
        return self.flow.replace(self._named(theta))

    def rows(self):
        """Batches without end: every row once, in an order of its own, before any comes again."""
        size, epoch = self.batch_size, 0
        while True:
            order = np.asarray(
                ga.random.permutation(ga.random.fold_in(self.key, epoch), len(self.x))
            )
            for k in range(len(order) // size):
                yield order[k * size : (k + 1) * size]
            epoch += 1

    def validation(self, flow) -> float:
        """The mean loss of the held-out rows, or of the first rows of the data."""
        return float(_mean_loss(flow, *(self.held or self.judged)))

    def train(self, steps, learning_rate, patience, progress):
        """The steps; (flow, history)."""
        history, best, started = History(), _Best(), time.perf_counter()
        every, window = max(steps // EVALUATIONS, 1), 0.0
        before = self.state[THETA].copy()  # where the window of losses began
        rate = learning_rate if callable(learning_rate) else None
        fixed = None if rate else np.asarray(learning_rate, self.x.dtype)[()]
        batches = self.rows()
        with _bar(progress, steps) as show:
            for k in range(steps):
                rows = next(batches)
                x = self.x[rows]
                context = None if self.context is None else self.context[rows]
                now = fixed if rate is None else np.asarray(rate(k), self.x.dtype)[()]
                self.step(self.state, now, k, x, context, out=self.spare)
                self.state, self.spare = self.spare, self.state
                loss, norm = self.state[SEEN, :2].tolist()
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    history.stopped = self._blame(k, loss, x, context)
                    break
                history.loss.append(float(loss))
                window += loss
                if (k + 1) % every == 0 or k == steps - 1:
                    if self.held is None:  # where it was low on average is kept for a last look
                        best.offer(window / every, before, k + 1 - every)
                    else:
                        score = self.validation(self.current())
                        history.validation.append((k + 1, score))
                        best.offer(score, self.state[THETA], k + 1)
                        if best.waited >= patience:
                            history.stopped = f"no better validation loss since step {best.step}"
                            break
                    before, window = self.state[THETA].copy(), 0.0
                show(k + 1, history)
        history.seconds = time.perf_counter() - started
        if history.stopped and history.stopped.startswith("step"):
            warnings.warn(history.stopped, TrainingStopped, stacklevel=4)
        return self._chosen(best, len(history.loss), history), history

    def _chosen(self, best: _Best, done: int, history: History):
        """The best that was seen, by the held-out rows or by the first of the data."""
        if self.held is not None and best.theta is not None:
            history.best_step = best.step
            return self.current(best.theta)
        final = _Best()
        with np.errstate(all="ignore"):
            for theta, step in ((self.state[THETA], done), (best.theta, best.step)):
                if theta is not None and step > 0:
                    flow = self.current(theta)
                    final.offer(self._score(flow), flow, step)
            final.offer(self._score(self.flow), self.flow, 0)
        history.best_step = final.step
        return self.flow if final.theta is None else final.theta

    def _score(self, flow) -> float:
        """The loss by which results are compared; infinite where a parameter is not finite."""
        known = all(np.isfinite(flow.params[n]).all() for n in self.places)
        return self.validation(flow) if known else math.inf

    def _blame(self, step, loss, x, context) -> str:
        """Which layer gave the first value that is not finite."""
        found = first_not_finite(self.current(), x, context)
        if found is None:
            what = f"the loss is {float(loss)}, and its gradient is not finite"
            found = f"{what}: first in {self._bad_gradient(x, context)}"
        return (f"step {step}: {found}; the best parameters before are returned. A smaller "
                "learning_rate or clip, or scaled data, may help")  # fmt: skip

    def _bad_gradient(self, x, context) -> str:
        flow = self.current()
        params = flow.params
        gradient = ga.grad(lambda p: _mean_loss(flow.replace(p), x, context))(params)
        for name, g in gradient.items():
            if not np.isfinite(g).all():
                return name
        return "the norm of all parameters together"


def _has_act_norm(value) -> bool:
    if isinstance(value, ActNorm):
        return not value.ready
    items = _items(value)
    return items is not None and any(_has_act_norm(child) for _, child in items)


def _chosen(flow, trainable) -> set[str]:
    """Names of the parameters to train, each by its first place."""
    places = places_of(flow)
    if trainable is None:
        return {p.first for p in places}
    if callable(trainable):
        return {p.first for p in places if trainable(p.name)}
    prefixes = [trainable] if isinstance(trainable, str) else list(trainable)
    found = set()
    for prefix in prefixes:
        own = {p.first for p in places if f"{p.name}.".startswith(f"{prefix}.")}
        if not own:
            names = list(dict.fromkeys(p.first for p in places))
            raise ShapeError("fit", f"no parameter is in '{prefix}'", got=f"trainable={prefix!r}",
                             expected="whole parts, as in " + ", ".join(names[:3]),
                             fix="names of flow.params, or their beginnings")  # fmt: skip
        found |= own
    return found


def first_not_finite(flow, x, context=None) -> str | None:
    """The layer whose inverse, log-det or parameters are the first not to be finite, in words."""
    if not np.isfinite(x).all():
        return "the data are not finite"
    for name, value in flow.params.items():
        if not np.isfinite(value).all():
            return f"the parameter {name} is not finite"
    layers: list[tuple[str, Any]] = []

    def collect(name, b):
        if isinstance(b, Chain):
            for k, part in enumerate(b.parts):
                collect(f"{name}.parts.{k}", part)
        else:
            layers.append((name, b))

    if not hasattr(flow, "bijector"):
        finite = np.isfinite(flow.log_prob(x, context)).all()
        return None if finite else f"the log_prob of {type(flow).__name__} is not finite"
    collect("bijector", flow.bijector)
    for name, b in reversed(layers):
        x, log_det = inverse_with_log_det(b, x, context)
        for what, value in (("inverse", x), ("log-det", log_det)):
            if not np.isfinite(value).all():
                return f"the {what} of {name} ({type(b).__name__}) is not finite"
    if not np.isfinite(flow.base.log_prob(x)).all():
        return f"the log_prob of base ({type(flow.base).__name__}) is not finite"
    return None


class _bar:
    """A progress bar: by rich where it is installed, a line now and then where it is not."""

    def __init__(self, wanted: bool, steps: int):
        self.steps, self.bar, self.wanted = steps, None, wanted
        self.last = time.perf_counter()
        self.start = self.last

    def __enter__(self):
        if not self.wanted:
            return lambda step, history: None
        try:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            return self._line
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self.bar.__enter__()
        self.task = self.bar.add_task("fit", total=self.steps)
        return self._moved

    def __exit__(self, *problem):
        if self.bar is not None:
            self.bar.__exit__(*problem)

    def _text(self, step, history) -> str:
        rate = step / (time.perf_counter() - self.start)
        recent = history.loss[-20:]
        text = f"loss {sum(recent) / len(recent):.4f}"
        if history.validation:
            text += f"  validation {history.validation[-1][1]:.4f}"
        return text + f"  {rate:.0f} steps/s"

    def _moved(self, step, history):
        now = time.perf_counter()
        if self.bar is not None and (now - self.last > 0.1 or step == self.steps):
            self.last = now
            self.bar.update(self.task, completed=step, description=self._text(step, history))

    def _line(self, step, history):
        now = time.perf_counter()
        if now - self.last > 2.0 or step == self.steps:
            self.last = now
            print(f"step {step} of {self.steps}: {self._text(step, history)}", file=sys.stderr)
