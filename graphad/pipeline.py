"""The compiler as a list of named passes, and what each made of one function call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphad.compile.machine_code import llvm_of
from graphad.diff.limits import limits
from graphad.emit.emission import Kernels, kernels_of
from graphad.emit.kernel import Inner, Kernel
from graphad.emit.target import CUDA, Target, host
from graphad.errors import NOWHERE
from graphad.graph import Graph, check
from graphad.lower.apart import apart
from graphad.lower.cost import Cost, cost_of
from graphad.lower.expand import expand
from graphad.lower.fuse import fuse
from graphad.lower.long import straight_long, takes_long
from graphad.lower.memory import Memory, memory_of, plan
from graphad.lower.nest import nest
from graphad.lower.program import (
    Choice,
    Program,
    Repeat,
    check_program,
)
from graphad.lower.steps import steps
from graphad.lower.straight import (
    Straight,
    straight,
    straight_each,
    straight_loop,
    takes,
    takes_each,
    takes_loop,
)
from graphad.lower.strips import strips
from graphad.njit import foreign_kernels  # noqa: F401 - declares its routine
from graphad.ops.work import operations
from graphad.process.forks import lazy
from graphad.process.garbage import put_off
from graphad.rewrite.algebra import simplify, tidy
from graphad.rewrite.lookups import look_up_later
from graphad.rewrite.products import reassociate
from graphad.rewrite.sink import sink
from graphad.rewrite.sums import join_sums
from graphad.run import gate, kept
from graphad.run.failures import error_of
from graphad.run.gate_source import TUPLE
from graphad.run.image import Image, all_kernels, make_image, threads_for
from graphad.run.rooms import rooms_of
from graphad.spec import Spec
from graphad.timings import timed


@dataclass(frozen=True)
class Pass:
    """A named step of the compiler and the check that follows it."""

    name: str
    run: Callable[[Any], Any]
    check: Callable[[Any], Any]


GRAPH_PASSES = (Pass("limits", limits, check), Pass("simplify", simplify, check))
LARGE_PASSES = (
    Pass("reassociate", reassociate, check),
    Pass("look up later", look_up_later, check),
    Pass("expand", expand, check),
    Pass("tidy", tidy, check),
    Pass("join sums", join_sums, check),
    Pass("sink", sink, check),
    Pass("fuse", fuse, check_program),
    Pass("nest", nest, check_program),
    Pass("strips", strips, check_program),
    Pass("lower inside", lambda program: lower_inside(program, "cpu"), check_program),
    Pass("steps", steps, check_program),
    Pass("plan memory", plan, check_program),
)
DEVICE_PASSES = (
    *(p for p in LARGE_PASSES[:-1] if p.name not in ("strips", "lower inside", "steps")),
    Pass("apart", apart, check_program),
    Pass("lower inside", lambda program: lower_inside(program, "cuda"), check_program),
    LARGE_PASSES[-1],
)
SMALL_PASSES = (Pass("straighten", straight, check_program),)
LONG_PASSES = (
    Pass("straighten in pieces", straight_long, check_program),
    Pass("plan memory", plan, check_program),
)
EACH_PASSES = (Pass("straighten each", straight_each, check_program),)
PIPELINE = GRAPH_PASSES + LARGE_PASSES  # a graph that `takes` accepts goes by SMALL_PASSES


def passes_of(graph: Graph, device: str = "cpu") -> tuple[Pass, ...]:
    """The passes that a simplified graph goes by."""
    if takes(graph):
        return SMALL_PASSES
    if takes_each(graph):
        return EACH_PASSES
    if device != "cpu":
        return DEVICE_PASSES
    return LONG_PASSES if takes_long(graph) else LARGE_PASSES


def lowered(graph: Graph, watch: Callable[[str, Any], None] | None = None,
            device: str = "cpu") -> Program:  # fmt: skip
    """The program of a simplified graph."""
    return run_passes(passes_of(graph, device), graph, watch)


def lower_inside(program: Program, device: str) -> Program:
    """The program with the graphs that its loops and branches hold lowered, too."""

    def inside(graph: Graph) -> Program:
        return lowered(graph, device=device)

    regions: list[Any] = []
    for region in program.regions:
        if isinstance(region, Repeat) and takes_loop(region):
            region = straight_loop(region, program.buffers)
        elif isinstance(region, Repeat):
            condition = region.condition and inside(region.condition)
            region = replace(region, body=inside(region.body), condition=condition)
        elif isinstance(region, Choice):
            region = replace(region, branches=tuple(map(inside, region.branches)))
        regions.append(region)
    return replace(program, regions=tuple(regions))


def run_passes(passes, stage: Any, watch: Callable[[str, Any], None] | None = None) -> Any:
    """Run passes in order, checking each result; `watch(name, result)` sees every stage."""
    for step in passes:
        with put_off():
            with timed(step.name):
                stage = step.run(stage)
            with timed("check"):
                stage = step.check(stage)
        if watch is not None:
            watch(step.name, stage)
    return stage


@dataclass
class Lowered:
    """Every stage of one function for one set of argument specs; `str` of each reads well."""

    traced: Graph
    name: str = "f"
    cache: bool = True
    fastmath: bool = False
    parallel: bool | str = "auto"
    device: str = "cpu"
    ours: bool = False  # graphad's own function: errors name the line of the call
    stages: dict[str, Any] = field(default_factory=dict)

    @lazy
    def graph(self) -> Graph:
        """The simplified graph."""
        return run_passes(GRAPH_PASSES, self.traced, self.stages.__setitem__)

    @lazy
    def program(self) -> Program:
        """The fused program with its memory plan."""
        return lowered(self.graph, self.stages.__setitem__, self.device)

    @property
    def target(self) -> Target:
        """What kernels are for."""
        return CUDA if self.device == "cuda" else host()

    @lazy
    def kernels(self) -> Kernels:
        """One kernel a region, those of its programs if it has some; None for library calls."""
        with timed("emit"):
            return kernels_of(self.program, self.target, self.fastmath)

    @property
    def source(self) -> str:
        """The generated kernels, with the user's line beside each statement."""
        shown: dict[str, str] = {}
        _show(self.program, self.kernels, "", shown)
        return "\n\n".join(shown.values())

    @property
    def llvm(self) -> str:
        """The LLVM text of the kernels; with device='cuda' their PTX."""
        if self.device == "cuda":
            from graphad.run.device.programs import ptx_of_all

            return ptx_of_all(self.kernels)
        sources = dict.fromkeys(k.source for k in all_kernels(self.kernels) if not k.address)
        return "\n".join(llvm_of(s) for s in sources)

    @property
    def memory(self) -> Memory:
        """Bytes that a call needs, known before it runs."""
        threads = threads_for(self.parallel)
        return memory_of(self.program, *rooms_of(self.program, self.kernels, threads))

    @property
    def cost(self) -> Cost:
        """Operations and bytes of one call, estimated, region by region."""
        return cost_of(self.program, operations(self.graph.nodes))

    @property
    def sympy(self):
        """A small graph as sympy expressions, one array for each output."""
        from graphad.interop.sympy_out import to_sympy

        return to_sympy(self.graph)

    def __str__(self):
        return f"{self.name}\n{self.graph}"

    def compile(self) -> Compiled:
        """Machine code for this program."""
        if self.device == "cuda":
            from graphad.run.device.programs import DeviceProgram

            on_device: Any = DeviceProgram(self)
            return on_device
        options = {"cache": self.cache, "fastmath": self.fastmath, "parallel": self.parallel}
        with timed("look up the image"):
            key = kept.key_of(self.traced, options)
            found = None if key is None else kept.load(key, self.traced)
        if found is not None:
            return Compiled(self, *found)
        image = self.image()
        buffers, program = self.program.buffers, self.program
        inputs = tuple(buffers[b].spec for b in program.inputs)
        outputs = tuple(buffers[b].spec for b in program.outputs)
        if key is not None:
            kept.save(key, self.traced, image, inputs, outputs)
        image.written = None
        return Compiled(self, image, inputs, outputs)

    def image(self) -> Image:
        """The image of this program, made anew."""
        program, kernels = self.program, self.kernels
        with timed("image"):
            image = make_image(program, kernels, self.cache, self.parallel)
        image.releases = not all(isinstance(r, Straight) and r.brief for r in program.regions)
        image.refuses = any(getattr(r, "name", "") in REFUSING for r in image.regions)
        return image


REFUSING = ("categorical", "alias_table", "distinct")


def _canonical(leaf, spec: Spec):
    """A leaf whose type and dtype object are those that a plan expects."""
    if spec.ndim == 0:
        kind = spec.dtype.type
        return leaf if type(leaf) is kind else kind(leaf)
    return leaf if leaf.dtype.num == spec.dtype.num else leaf.view(spec.dtype)


@dataclass
class Compiled:
    """A runnable program: `call(leaves)` returns the list of result leaves."""

    lowered: Lowered
    image: Image
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    called: bool = False

    def plan(self, types, nest: int, finish=None, given: int = 0, names=()) -> gate.Plan:
        """How calls with arguments of these types go by a gate."""
        return gate.Plan(self.image, self.inputs, self.outputs, types, nest, self.error, finish,
                         given, names)  # fmt: skip

    def error(self, status: int, step: int, leaves) -> Exception:
        """The exception of a call in which a step came to a status."""
        regions = self.regions
        region = regions[step] if step < len(regions) else None  # or none has run
        return error_of(status, region, self.lowered, leaves)

    @lazy
    def _gates(self) -> dict[bool, Any]:
        """Native functions: one makes the results, one is given them."""
        types = [np.ndarray if s.ndim else s.dtype.type for s in self.inputs]
        arrays = sum(s.ndim > 0 for s in self.outputs)
        found = {}
        for given in (False, True):
            found[given], table = gate.make_gate(_nothing)
            table.add(self.plan(types, TUPLE, given=arrays if given else 0))
        return found

    @lazy
    def regions(self) -> list[Any]:
        """The region of each step; an image from disk does not say."""
        return self.image.regions or self.lowered.image().regions

    @property
    def may_refuse(self) -> bool:
        """Whether a call may fail by the values of its arguments after it wrote results."""
        return self.image.refuses

    def call(self, leaves, given=()) -> list[Any]:
        """Run on prepared leaves; array results are written to `given` if there are any."""
        leaves = [_canonical(x, s) for x, s in zip(leaves, self.inputs, strict=True)]
        if gate.supported() and self.called:
            results = self._gates[bool(given)](*leaves, *given)
            if results is not None:
                return list(results)
        self.called = True
        # The first call, or gates are shut: another thread traces.
        status, step, results = gate.plain_call(
            self.image, self.inputs, self.outputs, leaves, given
        )
        if status:
            raise self.error(status, step, leaves)
        return results


def _nothing(*_):
    """What a gate without another way out gives."""


def _show(program: Program, kernels, at: str, shown: dict[str, str]):
    """Add the text of every kernel that is not there yet."""
    for k, (region, kernel) in enumerate(zip(program.regions, kernels, strict=True)):
        if isinstance(kernel, Inner):
            shown[f"inner {at}{k}"] = f"# region {at}{k}: holds regions"
            for n, (one, its) in enumerate(zip(region.inner, kernel.programs, strict=True)):
                _show(one, its, f"{at}{k}.{n}.", shown)
        elif kernel is None:
            shown[f"library {at}{k}"] = f"# region {at}{k}: {region}"
        elif kernel.source.text not in shown:
            shown[kernel.source.text] = f"# region {at}{k}\n{annotated(kernel)}"


def annotated(kernel: Kernel) -> str:
    """A kernel's source with the user's line beside each statement that has one."""
    lines = kernel.source.code.rstrip("\n").split("\n")
    shown = kernel.source.notes
    for text, where in zip(lines, kernel.lines, strict=False):
        note = ""
        if where is not None and where != NOWHERE:
            note = f"  # {where.file.rsplit('/', 1)[-1]}:{where.line}  {where.text()}"
        shown.append(f"{text:<60}{note}".rstrip())
    return "\n".join(shown)
