"""Kernels of straight-line regions: their scalars as source, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphad.emit.kernel import Kernel, code_of, combine, expression, literal
from graphad.emit.source import Facts, KernelSource
from graphad.errors import NOWHERE, Where
from graphad.lower import scalar_linalg as matrices
from graphad.lower.program import STEP
from graphad.lower.scalars import ADD, BEYOND, TIMES, Given, Literal, Put, Ref, Scalar, Term
from graphad.lower.straight import Straight

_ARG = "({0} {order} {1}) | (({0} != {0}) & ({1} == {1}))"
FORMS = {
    ADD: "{0} + {1}", TIMES: "{0} * {1}", matrices.OVER: "{0} / {1}",
    matrices.LESS: "{0} - {1} * {2}", matrices.CHOOSE: "({1} if {0} else {2})",
    matrices.ROOT: "sqrt_{code}({0})", matrices.LARGER: "abs({0}) > abs({1})",
    matrices.EQUAL: "{0} == {1}", matrices.NOT_ABOVE: "not ({0} > {1})",
    BEYOND["argmax"]: _ARG.replace("{order}", ">"), BEYOND["argmin"]: _ARG.replace("{order}", "<"),
}  # fmt: skip
Lines = list[tuple[str, Where]]


class ScalarWriter:
    """Writes scalars as lines; what reads the same is computed once. `row`: the variable that says
    which row of a pointer, `pointers`: their names."""

    def __init__(self, prefix: str, row: str, pointers: Sequence[str]):
        self.prefix, self.row, self.pointers = prefix, row, pointers
        self.names: dict[int, str] = {}
        self.known: dict[str, str] = {}

    def text(self, term: Term) -> str:
        """A term: a variable, or a literal."""
        if isinstance(term, Ref):
            return self.names[term.id]
        if isinstance(term, Given):
            return term.name
        assert isinstance(term, Literal)
        return literal(term.value, term.dtype)

    def place(self, pointer: int, row: int, element: int) -> str:
        """An address and an index."""
        start = f"{self.row} * {row} + " if row else ""
        return f"{self.pointers[pointer]}, {start}{element}"

    def lines(self, scalars: Sequence[Scalar]) -> Lines:
        """One line for each scalar."""
        made = []
        for s in scalars:
            text = self._expression(s)
            name = self.known.get(text)
            if name is None:
                name = self.known[text] = f"{self.prefix}{s.id}"
                made.append((f"{name} = {text}", s.where))
            self.names[s.id] = name
        return made

    def _expression(self, s: Scalar) -> str:
        if s.op == "load":
            return f"load_{code_of(s.dtype)}({self.place(*s.at)})"
        args = [self.text(a) for a in s.args]
        if s.op in FORMS:
            return FORMS[s.op].format(*args, code=code_of(s.dtype))
        if s.op.startswith(STEP):
            return combine(s.op.removeprefix(STEP), *args)
        assert s.operand is not None
        return expression(s.op, args, s.operand, s.dtype)

    def store(self, put: Put) -> str:
        """The line of a store."""
        at = self.place(put.pointer, put.row, put.element)
        return f"store_{code_of(put.dtype)}({at}, {self.text(put.value)})"

    def checks(self, checks) -> list[str]:
        """The lines that note a status."""
        return [f"bad = max(bad, {status} if {self.text(c)} else 0)" for c, status in checks]


def write_straight(region: Straight) -> Kernel:
    """The kernel of a straight-line region."""
    pointers = [f"p{k}" for k in range(len(region.pointers))]
    writer = ScalarWriter("v", "i0", pointers)
    inside = writer.lines(region.scalars)
    inside += [(writer.store(put), put.where) for put in region.stores]
    inside += [(text, NOWHERE) for text in writer.checks(region.checks)]
    head = ["def kernel(table, start, stop):"]
    head += [f"    {p} = integer(table, {k})" for k, p in enumerate(pointers)]
    if region.checks:
        head.append("    bad = 0")
    work: Any = 0
    depth = 4
    if region.count != 0:
        head[1:1] = ["    wide_vectors()"]
        head.append("    for i0 in range(start, stop):")
        work, depth = region.count * 4 * len(inside), 8
    lines = [(h, NOWHERE) for h in head] + [(" " * depth + text, where) for text, where in inside]
    source, wheres = ended(lines, bool(region.checks))
    return Kernel(source, region.pointers, (), region.count, wheres, work)


def ended(lines: Lines, fails: bool) -> tuple[KernelSource, tuple[Where, ...]]:
    """The source of these lines and of the last, and the user's line of each."""
    end = "bad" if fails else "0"
    code = "\n".join(text for text, _ in lines) + f"\n    return {end}\n"
    return KernelSource(code, Facts(fails=fails)), (*[w for _, w in lines], NOWHERE)
