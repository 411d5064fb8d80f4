"""A loop with a small body as one kernel: straight-line code around which the steps run."""

from __future__ import annotations

from typing import Any

from graphad.emit.kernel import Kernel, code_of
from graphad.emit.small import Lines, ScalarWriter, ended
from graphad.errors import NOWHERE
from graphad.lower.program import Buffer
from graphad.lower.scalars import Given
from graphad.lower.straight import StraightLoop


def write_straight_loop(region: StraightLoop, buffers: tuple[Buffer, ...]) -> Kernel:
    """The kernel of a loop with a small body."""
    return _LoopWriter(region, buffers).kernel()


class _LoopWriter:
    """Writes the kernel of one loop."""

    def __init__(self, region: StraightLoop, buffers: tuple[Buffer, ...]):
        self.region, self.loop, self.buffers = region, region.loop, buffers
        self.pointers: list[tuple[int, Any]] = []
        self.head: list[str] = []
        self.tail: list[str] = []

    def pointer(self, buffer: int) -> str:
        """The name of a buffer's address."""
        self.pointers.append((buffer, 0))
        return f"p{len(self.pointers) - 1}"

    def load(self, buffer: int, name: str):
        """Load every element of a buffer before the loop."""
        spec, p = self.buffers[buffer].spec, self.pointer(buffer)
        code = code_of(spec.dtype)
        self.head += [f"{name}_{k} = load_{code}({p}, {k})" for k in range(spec.size)]

    def kernel(self) -> Kernel:
        """The finished kernel."""
        r, fails = self.loop, bool(self.region.step.checks)
        for k, b in enumerate(r.starts):
            self.load(b, f"c{k}")
        for k, b in enumerate(r.constants):
            self.load(b, f"k{k}")
        body = self._body()
        if fails:
            self.head.append("bad = 0")
        lines: Lines = [(f"    {t}", NOWHERE) for t in self.head]
        lines += self._loop_head()
        lines += [(f"        {t}", w) for t, w in body]
        if self.region.test is not None:
            lines.append(("        t = t + 1", NOWHERE))
        lines += [(f"    {t}", NOWHERE) for t in self.tail]
        if r.taken >= 0:
            lines.append((f"    keep_i8({self.pointer(r.taken)}, 0, t)", NOWHERE))
        head = ["def kernel(table, start, stop):"]
        head += [f"    p{k} = integer(table, {k})" for k in range(len(self.pointers))]
        head.append(f"    n = integer(table, {len(self.pointers)})")
        source, wheres = ended([(h, NOWHERE) for h in head] + lines, fails)
        return Kernel(source, tuple(self.pointers), (r.length,), 0, wheres)

    def _loop_head(self) -> Lines:
        r, test = self.loop, self.region.test
        lines = []
        if r.count >= 0:
            lines.append((f"    n = min(n, load_i8({self.pointer(r.count)}, 0))", NOWHERE))
        index = "        i = n - 1 - t" if r.reverse else "        i = t"
        if test is None:
            return [*lines, ("    for t in range(n):", NOWHERE), (index, NOWHERE)]
        writer = ScalarWriter("u", "i", ())
        needed = writer.lines(test.scalars)
        answer = writer.text(test.results[0][0])
        lines += [("    t = 0", NOWHERE), ("    while t < n:", NOWHERE), (index, NOWHERE)]
        lines += [(f"        {t}", w) for t, w in needed]
        lines += [(f"        if not {answer}:", NOWHERE), ("            break", NOWHERE)]
        return lines

    def _body(self) -> Lines:
        """The statements of a step: what it computes, its rows of ys, the next carries."""
        r, step = self.loop, self.region.step
        writer = ScalarWriter("v", "i", [self.pointer(b) for b in r.xs])
        lines, moves = writer.lines(step.scalars), []
        count = len(r.starts)
        for b, values in zip(r.ys, step.results[count:], strict=True):
            code, p = code_of(self.buffers[b].spec.dtype), self.pointer(b)
            for k, value in enumerate(values):
                place = f"{p}, i * {len(values)} + {k}"
                lines.append((f"store_{code}({place}, {writer.text(value)})", NOWHERE))
        lines += [(text, NOWHERE) for text in writer.checks(step.checks)]
        for c, (b, values) in enumerate(zip(r.lasts, step.results[:count], strict=True)):
            code, p = code_of(self.buffers[b].spec.dtype), self.pointer(b)
            for k, value in enumerate(values):
                name = f"c{c}_{k}"
                self.tail.append(f"store_{code}({p}, {k}, {name})")
                if value != Given(name):
                    lines.append((f"new_{name} = {writer.text(value)}", NOWHERE))
                    moves.append((f"{name} = new_{name}", NOWHERE))
        return [*lines, *moves]
