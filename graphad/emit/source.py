"""A kernel's source as a value: its code in the kernel language, and what its maker knows of it.

Nothing else looks into the code: what can be read off it (which words it calls) is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from graphad.process.forks import lazy

FULL = "full"  # what LLVM is asked to do: all of it;
QUICK = "quick"  # little, where no loop is worth vectorising;
REGISTERS = "registers"  # or little, but for code that runs at every step
KERNEL, FUNCTION, BLOCK_FUNCTION = "kernel", "function", "block function"
_WORD = re.compile(r"(\w+)\(")
_LOOP = re.compile(r"^ *for ", re.M)


@dataclass(frozen=True)
class Facts:
    """What is known of a source beside its code.

    `kind`: a kernel; a function that kernels call by its symbol; one of blocks, whose code is the
    word that names it. `effort`: of LLVM. `fastmath`: sums and products may be reordered. `fails`:
    it may come to a status other than 0. `team`: a block of a GPU's threads shares each step.
    """

    kind: str = KERNEL
    effort: str = FULL
    fastmath: bool = False
    fails: bool = False
    team: bool = False


@dataclass(frozen=True)
class KernelSource:
    """Code, the symbol by which others find it (if they do), and its facts."""

    code: str
    facts: Facts = Facts()
    symbol: str = ""

    @lazy
    def words(self) -> frozenset[str]:
        """The names of the functions that it calls."""
        return frozenset(_WORD.findall(self.code))

    @lazy
    def loops(self) -> bool:
        """Whether there is a loop over a range in it."""
        return _LOOP.search(self.code) is not None

    @lazy
    def text(self) -> str:
        """All of it, by which the cache knows it."""
        return f"{self.facts}\n{self.symbol}\n{self.code}"

    def calls(self, *starts: str) -> list[str]:
        """The words that it calls that start so, in order."""
        return sorted(w for w in self.words if w.startswith(starts))

    def with_facts(self, **facts) -> KernelSource:
        """The same code with other facts."""
        return replace(self, facts=replace(self.facts, **facts))

    @property
    def notes(self) -> list[str]:
        """Lines that say what a reader should know of its facts."""
        said = {"# fast-math: sums and products may be reordered": self.facts.fastmath,
                "# a block of threads shares each step": self.facts.team}  # fmt: skip
        return [text for text, holds in said.items() if holds]

    def __str__(self):
        return "\n".join([*self.notes, self.code])


def quick(code: str, effort: str = QUICK) -> KernelSource:
    """A kernel that has no loop worth vectorising."""
    return KernelSource(code, Facts(effort=effort))
