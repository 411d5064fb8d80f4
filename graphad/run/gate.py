"""The gate: how Python calls programs. One native function, compiled once, reads NumPy arrays.

`make_gate` gives a built-in function with a table of plans. A call is answered by the plan that
its argument types, dtypes, ranks and dims are hashed to; if there is none, the arguments go to a
Python fallback, and so they do while anything is traced, since a call within a trace is staged. A
call that fails goes to another Python function, which knows what to say; it has run once.
Nothing is compiled for a signature.

Where objects do not lie in memory as the gate expects (`why_not` says so), calls go by `plain_call`
in Python, and a warning says so once.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.compile.build import kernel_address
from graphad.errors import SlowCalls, user_line
from graphad.process.once import once
from graphad.run import gate_source as s
from graphad.run import layout
from graphad.run.image import Image
from graphad.status import NOTED
from graphad.trace.run import TRACING

MOST_PLANS = 2048  # of one gate; the oldest half goes when there are more


@once
def _api() -> np.ndarray:
    """Addresses of the functions of CPython and NumPy that the gate calls."""
    from numpy._core import _multiarray_umath as umath  # type: ignore[attr-defined]

    python = ctypes.pythonapi
    get = python.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(umath._ARRAY_API, None)  # type: ignore[attr-defined]
    numpy_api = (ctypes.c_void_p * 100).from_address(table)

    def at(name):
        return ctypes.cast(getattr(python, name), ctypes.c_void_p).value or 0

    slots = [
        at("PyTuple_New"), at("PyTuple_SetItem"), at("Py_DecRef"), numpy_api[93] or 0,
        numpy_api[60] or 0, id(True), at("PyLong_AsLongLongAndOverflow"), at("PyEval_SaveThread"),
        at("PyEval_RestoreThread"), at("PyObject_Vectorcall"), at("PyObject_CallOneArg"),
        at("Py_IncRef"), id(np.ndarray), TRACING.ctypes.data, id(sys.intern("out")),
        at("PyLong_FromLongLong"),
    ]  # fmt: skip
    return np.array(slots, np.int64)


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("code", ctypes.c_void_p),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]  # fmt: skip


@once
def _method() -> _MethodDef:
    fast_call_with_keywords = 0x80 | 0x02
    return _MethodDef(b"graphad", kernel_address(s.GATE_SOURCE), fast_call_with_keywords, None)


@once
def why_not() -> str:
    """Why calls cannot go by the gate here; '' where they can."""
    return s.objects_as_expected()


def supported() -> bool:
    """Whether calls can go by the gate here; the first to hear that they cannot is warned."""
    if why_not():
        _warn()
    return not why_not()


@once
def _warn() -> None:
    where = user_line()
    warnings.warn_explicit(
        f"calls go through Python here, some microseconds slower each: {why_not()}",
        SlowCalls, where.file, where.line,
    )  # fmt: skip


class Plan:
    """How calls with arguments of some kind go: words for the gate, and all that they name.

    `types`: the arguments' Python types. `given`: so many array results come as further
    arguments, which the caller has checked. `names`: of the last arguments, if they are given by
    name. `failure(plan, status, step, leaves)` gives the exception of a call that failed.
    """

    def __init__(self, image: Image, inputs, outputs, types, nest: int, failure: Callable,
                 finish=None, given: int = 0, names=()):  # fmt: skip
        self.image, self.failure, self.finish = image, failure, finish
        self.types = tuple(types)
        self.names = tuple(map(sys.intern, names))
        self.sized = all(isinstance(d, int) for spec in inputs for d in spec.shape)
        self.given = given
        self.inputs = tuple(inputs)
        words = [0] * s.PLAN
        words[s.ARGUMENTS], words[s.RESULTS] = len(inputs) + given, len(outputs)
        words[s.IMAGE], words[s.NEST], words[s.RELEASE] = image.address, nest, int(image.releases)
        words[s.FINISH] = 0 if finish is None else id(finish)
        words[s.NAMED], words[s.OWNER] = len(names), id(self)
        for spec, cls in zip(inputs, self.types, strict=True):
            words += self._argument(spec, cls)
        words += [id(np.ndarray), s.KIND_OUT, 0, 0] * given
        taken = 0
        self.dtypes = [np.dtype(spec.dtype.char) for spec in outputs]
        for spec, dtype in zip(outputs, self.dtypes, strict=True):
            taken += bool(given and spec.ndim)
            place = len(inputs) + taken if given and spec.ndim else 0
            words += [spec.ndim or -1, spec.dtype.num, id(dtype), place, spec.dtype.itemsize]
        words[s.NAMES_AT] = len(words)
        words += [id(name) for name in self.names]
        self.words = np.array(words, np.int64)

    def _argument(self, spec, cls) -> list[int]:
        kind = kind_of(cls)
        assert kind is not None
        mark = s.mark_of(spec.dtype) if kind == s.KIND_ARRAY else 0
        return [id(cls), kind, mark, spec.ndim,
                *[d if isinstance(d, int) else -1 for d in spec.shape]]  # fmt: skip

    def hash(self, sized: bool) -> int:
        """Where the gate looks for it."""
        words = [len(self.inputs) + self.given]
        for spec, cls in zip(self.inputs, self.types, strict=True):
            words.append(id(cls))
            if cls is np.ndarray:
                words += [s.mark_of(spec.dtype), spec.ndim, *(spec.shape if sized else ())]
        words += [id(name) for name in self.names]
        return s.hash_of(words)


def _failed(plan: Plan, code: int, *args, out=None, **kwargs):
    """What the gate calls when a program came to a status."""
    leaves = [*args, *kwargs.values()][: len(plan.inputs)]
    raise plan.failure(code % NOTED, code // NOTED, leaves) from None


class Table(np.ndarray):
    """A gate's table, which is its `self`; it keeps alive what its addresses point to."""

    fallback: Callable
    plans: list[Plan]
    slots: np.ndarray

    def add(self, plan: Plan) -> None:
        """Put a plan in."""
        self.plans.append(plan)
        sized = bool(self[s.SIZED])
        crowded = len(self.plans) > MOST_PLANS
        if crowded:
            del self.plans[: MOST_PLANS // 2]
        if crowded or 2 * len(self.plans) > len(self.slots) or (sized and not plan.sized):
            self._rebuild(sized and plan.sized)
        else:
            _insert(self.slots, plan, sized)

    def _rebuild(self, sized: bool) -> None:
        """Slots for the plans that there are. With one of symbolic dims, dims are not hashed."""
        size = 8
        while size < 4 * len(self.plans):
            size *= 2
        slots = np.zeros(size, np.int64)
        for plan in self.plans:
            _insert(slots, plan, sized)
        self.slots = slots
        self[s.SLOTS], self[s.MASK], self[s.SIZED] = slots.ctypes.data, size - 1, sized

    def __reduce__(self):
        raise TypeError("a table of addresses cannot be pickled")


def _insert(slots: np.ndarray, plan: Plan, sized: bool) -> None:
    mask = len(slots) - 1
    place = plan.hash(sized) & mask
    while slots[place]:
        place = (place + 1) & mask
    slots[place] = plan.words.ctypes.data


def make_gate(fallback, takes_out: bool = False) -> tuple[Any, Table]:
    """(a built-in function without plans, its table). `takes_out`: whether out= is where to write
    the result, not an argument of the function's own."""
    table = np.zeros(s.TABLE, np.int64).view(Table)
    table.fallback, table.plans, table.slots = fallback, [], np.zeros(8, np.int64)
    table[s.FALLBACK], table[s.API], table[s.FAILURE] = (
        id(fallback), _api().ctypes.data, id(_failed))  # fmt: skip
    table[s.SLOTS], table[s.MASK], table[s.SIZED] = table.slots.ctypes.data, 7, 1
    table[s.TAKES_OUT] = takes_out
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new(ctypes.addressof(_method()), table, None), table


def kind_of(cls: type) -> int | None:
    """How the gate reads an argument of this type; None if it does not."""
    if cls is np.ndarray:
        return s.KIND_ARRAY
    if cls is int or cls is bool:
        return s.KIND_INT if cls is int else s.KIND_BOOL
    readable = cls is float or (cls in NUMBERS and np.dtype(cls).kind in "fiub")
    return s.KIND_RAW if readable else None


NUMBERS = frozenset(np.dtype(c).type for c in "?bhilqBHILQfd")


def plain_call(image: Image, inputs, outputs, leaves, given) -> tuple[int, int, list]:
    """The same in Python: (status, the step that came to it, results).

    `given`: arrays for the array results, or an empty list.
    """
    frame = image.data.copy()
    frame[layout.SELF] = frame.ctypes.data
    kept, at = [], layout.HEADER
    for spec, leaf in zip(inputs, leaves, strict=True):
        array = np.asarray(leaf, spec.dtype)
        kept.append(array)
        frame[at + layout.ADDRESS] = array.ctypes.data
        shape = at + layout.INPUT_FIELDS
        frame[shape : shape + 2 * spec.ndim] = (*array.shape, *array.strides)
        at += layout.input_words(spec.ndim)
    status = _plainly(frame, layout.PREPARE)
    results, rest = [], list(given)
    for spec in outputs if status == 0 else ():
        first = at + layout.OUTPUT_FIELDS
        shape = tuple(int(d) for d in frame[first : first + spec.ndim])
        results.append(rest.pop(0) if given and spec.ndim else np.empty(shape, spec.dtype))
        frame[at + layout.ADDRESS] = results[-1].ctypes.data
        at += layout.output_words(spec.ndim)
    status = status or _plainly(frame, layout.EXECUTE)
    _plainly(frame, layout.FINISH)
    return status, int(frame[layout.FAILED]), [r if r.ndim else r[()] for r in results]


def _plainly(frame, function) -> int:
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return kind(int(frame[function]))(frame.ctypes.data, 0, 0)
