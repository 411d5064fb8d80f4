"""Graph to Program: elementwise chains, views, gathers and reductions become loop regions.

`place.py` decides where each node is computed, `regions.py` writes the regions down.
"""

from __future__ import annotations

from graphad.graph import Graph
from graphad.lower.place import Fusion
from graphad.lower.program import Program
from graphad.lower.regions import Assembly


def fuse(graph: Graph) -> Program:
    """The program of a graph whose products have been expanded."""
    fusion = Fusion(graph)
    fusion.place_all()
    return Assembly(fusion).program()
