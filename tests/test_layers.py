"""The layout is the pipeline: each module imports only from rows above it."""

import ast
import pathlib
from collections import Counter

import networkx as nx

import graphad

ROOT = pathlib.Path(graphad.__file__).parent
ROWS = [
    ["errors", "status", "timings"],
    ["process"],
    ["spec"],
    ["op"],
    ["graph"],
    ["ops"],
    ["reference"],
    ["trace"],
    ["diff"],
    ["rewrite"],
    ["lower"],
    ["emit"],
    ["bodies"],
    ["compile"],
    ["run"],
    ["njit"],
    ["pipeline"],
    ["call"],
    ["function"],
    ["transform"],
    ["interop", "linalg", "optim", "special", "primitives"],
    ["random"],
    ["flows"],
    ["inspect", "__main__"],
]
ROW_OF = {name: k for k, row in enumerate(ROWS) for name in row}
# Seen from below at run time only, inside functions: a stage showing itself in another form.
LATE = {("pipeline", "interop")}


def imports_of(path):
    """(module of ours, whether at import time) for each import in a file."""
    tree = ast.parse(path.read_text())
    top = set(
        ast.walk(
            ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
        )
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphad"):
            if node.module == "graphad":
                for alias in node.names:
                    yield alias.name, node in top
            else:
                yield node.module.split(".")[1], node in top


def test_every_module_has_a_row():
    found = {p.stem for p in ROOT.iterdir() if p.is_dir() or p.suffix == ".py"}
    found -= {"__init__", "__pycache__"}
    assert found == set(ROW_OF)


def test_imports_go_up():
    wrong = []
    for path in ROOT.rglob("*.py"):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for there, _ in imports_of(path):
            if there in ROW_OF and ROW_OF[there] > ROW_OF[here] and (here, there) not in LATE:
                wrong.append(f"{path.relative_to(ROOT)} imports {there}")
    assert not wrong, wrong


def module_of(path):
    return ".".join(("graphad", *path.relative_to(ROOT).with_suffix("").parts))


def test_no_imports_go_round():
    """Among single modules, as Python meets them when it imports."""
    modules = {module_of(p): p for p in ROOT.rglob("*.py")}
    graph = nx.DiGraph()
    for name, path in modules.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphad."):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    graph.add_edge(name, inner if inner in modules else node.module)
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    assert not circles and len(graph) > 100


def test_the_name_of_a_module_is_used_once():
    names = Counter(p.stem for p in ROOT.rglob("*.py") if p.stem != "__init__")
    assert [n for n, count in names.items() if count > 1] == []


def test_no_module_outgrows_a_reader():
    tables = {"coefficients"}
    lines = {p.stem: len(p.read_text().splitlines()) for p in ROOT.rglob("*.py")}
    assert {n: k for n, k in lines.items() if k > 500}.keys() == tables
