"""A loop with a small body as one kernel: straight-line code around which the steps run.

The carries are variables of the kernel, so a step costs no more than its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.emit.kernel import Kernel, code_of
from graphad.emit.small import (
    VARIABLE,
    Straight,
    Straightener,
    is_brief,
    live,
    objects,
    takes,
)
from graphad.emit.source import Facts, KernelSource
from graphad.errors import NOWHERE, Where
from graphad.graph import Graph, Node
from graphad.lower.program import Buffer, Repeat

MOST_WORK_STEP = 1500


def takes_loop(region: Repeat) -> bool:
    """Whether the steps of a loop are small enough for straight-line code."""
    graphs = [g for g in (region.body, region.condition) if g is not None]
    if not all(takes(g, MOST_WORK_STEP) for g in graphs):
        return False
    return is_brief(n for g in graphs for n in g.nodes)


class _Step(Straightener):
    """A body or condition whose inputs are variables of the kernel."""

    def __init__(self, graph: Graph, given: dict[int, list[str]], prefix: str):
        super().__init__(graph, prefix=prefix)
        self.given = given

    def _loads(self, node: Node):
        return objects(self.given[node.id], node.spec.shape)


def straight_loop(region: Repeat, buffers: tuple[Buffer, ...]) -> Straight:
    """The region of a loop with a small body."""
    return _LoopWriter(region, buffers).region_of()


class _LoopWriter:
    """Writes the kernel of one loop."""

    def __init__(self, region: Repeat, buffers: tuple[Buffer, ...]):
        self.region, self.buffers = region, buffers
        self.pointers: list[tuple[int, Any]] = []
        self.head: list[str] = []
        self.tail: list[str] = []
        self.checked = False

    def pointer(self, buffer: int) -> str:
        """The name of a buffer's address."""
        self.pointers.append((buffer, 0))
        return f"p{len(self.pointers) - 1}"

    def elements(self, buffer: int, name: str) -> list[str]:
        """Variables with every element of a buffer, loaded before the loop."""
        spec, p = self.buffers[buffer].spec, self.pointer(buffer)
        names = [f"{name}_{k}" for k in range(spec.size)]
        code = code_of(spec.dtype)
        self.head += [f"{n} = load_{code}({p}, {k})" for k, n in enumerate(names)]
        return names

    def region_of(self) -> Straight:
        """The finished region."""
        r = self.region
        carries = [self.elements(b, f"c{k}") for k, b in enumerate(r.starts)]
        constants = [self.elements(b, f"k{k}") for k, b in enumerate(r.constants)]
        given = [["i"], *carries, *constants]
        body = self._body(given, carries)
        lines = [(f"    {t}", NOWHERE) for t in self.head]
        lines += self._loop_head(given)
        lines += [(f"        {t.strip()}", w) for t, w in body]
        if r.condition is not None:
            lines.append(("        t = t + 1", NOWHERE))
        lines += [(f"    {t}", NOWHERE) for t in self.tail]
        if r.taken >= 0:
            lines.append((f"    keep_i8({self.pointer(r.taken)}, 0, t)", NOWHERE))
        head = ["def kernel(table, start, stop):"]
        head += [f"    p{k} = integer(table, {k})" for k in range(len(self.pointers))]
        head.append(f"    n = integer(table, {len(self.pointers)})")
        lines = [(h, NOWHERE) for h in head] + lines
        end = "bad" if self.checked else "0"
        source = "\n".join(text for text, _ in lines) + f"\n    return {end}\n"
        wheres = (*[w for _, w in lines], NOWHERE)
        source = KernelSource(source, Facts(fails=self.checked))
        kernel = Kernel(source, tuple(self.pointers), (r.length,), 0, wheres)
        shown = tuple(text[4:] for text, _ in lines[len(head) :])
        return Straight(kernel, tuple(sorted(r.reads())), tuple(sorted(r.writes())), r.where,
                        shown, brief=False)  # fmt: skip

    def _loop_head(self, given) -> list[tuple[str, Where]]:
        r = self.region
        lines = []
        if r.count >= 0:
            lines.append((f"    n = min(n, load_i8({self.pointer(r.count)}, 0))", NOWHERE))
        index = "        i = n - 1 - t" if r.reverse else "        i = t"
        if r.condition is None:
            return [*lines, ("    for t in range(n):", NOWHERE), (index, NOWHERE)]
        test = _Step(r.condition, dict(zip(r.condition.inputs, given, strict=True)), "u")
        test.run()
        answer = test.text(test.values[r.condition.outputs[0]].item(), np.dtype("?"))
        needed = live(test.lines, {answer})
        lines += [("    t = 0", NOWHERE), ("    while t < n:", NOWHERE), (index, NOWHERE)]
        lines += [(f"        {t.strip()}", w) for t, w in needed]
        lines += [(f"        if not {answer}:", NOWHERE), ("            break", NOWHERE)]
        return lines

    def _body(self, given, carries) -> list[tuple[str, Where]]:
        """The statements of a step: what it computes, its rows of ys, the next carries."""
        r, body = self.region, self.region.body
        inputs = dict(zip(body.inputs, given, strict=False))
        step = _Step(body, inputs, "v")
        for b, i in zip(r.xs, body.inputs[len(given) :], strict=True):
            spec, p = body.nodes[i].spec, self.pointer(b)
            code = code_of(spec.dtype)
            inputs[i] = [step.name(f"load_{code}({p}, i * {spec.size} + {k})", NOWHERE)
                         for k in range(spec.size)]  # fmt: skip
        step.run()
        count = len(r.starts)
        ends, used = [], set()

        def put(text, value):
            used.update(VARIABLE.findall(value))
            ends.append((text, NOWHERE))

        for b, o in zip(r.ys, body.outputs[count:], strict=True):
            spec, p = body.nodes[o].spec, self.pointer(b)
            for k, value in enumerate(step.values[o].ravel()):
                value = step.text(value, spec.dtype)
                put(f"store_{code_of(spec.dtype)}({p}, i * {spec.size} + {k}, {value})", value)
        for condition, status in dict.fromkeys(step.checks):
            put(f"bad = max(bad, {status} if {condition} else 0)", condition)
            if not self.checked:
                self.head.append("bad = 0")
                self.checked = True
        moves = []
        for names, b, o in zip(carries, r.lasts, body.outputs[:count], strict=True):
            spec, p = body.nodes[o].spec, self.pointer(b)
            code = code_of(spec.dtype)
            for k, value in enumerate(step.values[o].ravel()):
                name, value = names[k], step.text(value, spec.dtype)
                self.tail.append(f"store_{code}({p}, {k}, {name})")
                if value != name:
                    put(f"new_{name} = {value}", value)
                    moves.append((f"{name} = new_{name}", NOWHERE))
        return [*live(step.lines, used), *ends, *moves]
