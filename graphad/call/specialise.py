"""Specialisations: what a function's code became for one structure and specs of arguments."""

from __future__ import annotations

from typing import Any

from graphad.call.parameters import Parameters, Structure
from graphad.pipeline import Compiled, Lowered
from graphad.process.forks import Lock
from graphad.spec import Spec
from graphad.timings import timed
from graphad.trace.generators import NoDraws
from graphad.trace.guards import clear_errors
from graphad.trace.run import trace

MOST = 2048  # of one function; the oldest half goes when there are more


class Specialisation:
    """A traced function: its program, and the structure of its results."""

    def __init__(self, lowered: Lowered, tree):
        self.lowered, self.tree = lowered, tree
        self.compiled: Compiled | None = None
        self.remembered = False  # whether calls go by the gate


class Specialisations:
    """Those of one function, found by structure and specs, each made once."""

    def __init__(self, f, parameters: Parameters, options: dict[str, Any]):
        self.f, self.parameters, self.options = f, parameters, options
        self.known: dict[tuple[Structure, tuple[Spec, ...]], Specialisation] = {}
        self.lock = Lock()

    def find(self, structure: Structure, specs) -> Specialisation | None:
        """One that is compiled already."""
        found = self.known.get((structure, tuple(specs)))
        return found if found is not None and found.compiled is not None else None

    def compiled(self, structure: Structure, specs) -> Specialisation:
        """One with machine code."""
        with self.lock.own:
            made = self.traced(structure, specs)
            if made.compiled is None:
                made.compiled = made.lowered.compile()
            return made

    def traced(self, structure: Structure, specs) -> Specialisation:
        """One with a graph."""
        key = (structure, tuple(specs))
        with self.lock.own:
            found = self.known.get(key)
            if found is None:
                found = self._trace(structure, specs)
                if len(self.known) >= MOST:
                    for old in list(self.known)[: MOST // 2]:
                        del self.known[old]
                self.known[key] = found
            return found

    def _trace(self, structure: Structure, specs) -> Specialisation:
        f, parameters, no_draws = self.f, self.parameters, NoDraws(self.f)

        def run(tensors):
            args, kwargs = parameters.join(structure, tensors)
            if structure.names is None:
                parameters.bind(args, kwargs)
            with no_draws, clear_errors():
                return f(*args, **kwargs)

        names = parameters.names(structure)
        with timed("trace"):
            graph, tree = trace(run, specs, names, parameters.where)
        ours = (getattr(f, "__module__", None) or "").startswith("graphad.")
        return Specialisation(Lowered(graph, parameters.name, **self.options, ours=ours), tree)
