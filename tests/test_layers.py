"""The layout is the pipeline: each module imports only from rows above it."""

import ast
import pathlib

import graphad

ROOT = pathlib.Path(graphad.__file__).parent
ROWS = [
    ["errors", "status", "timings", "forks", "garbage", "holding", "interrupts"],
    ["spec"],
    ["op"],
    ["graph"],
    ["ops"],
    ["reference"],
    ["trace"],
    ["diff"],
    ["batch"],
    ["rewrite"],
    ["lower"],
    ["emit", "runtime"],
    ["pipeline"],
    ["call"],
    ["function"],
    ["transform"],
    ["selection"],
    ["derivatives"],
    ["enclosure"],
    ["parts"],
    ["control"],
    ["implicit", "ode", "external", "determinant"],
    ["interop", "linalg", "optim", "special", "primitives"],
    ["random"],
    ["flows"],
    ["inspect", "__main__"],
]
ROW_OF = {name: k for k, row in enumerate(ROWS) for name in row}
# Seen from below at run time only, inside functions: a stage showing itself in another form.
LATE = {("pipeline", "interop"), ("runtime", "trace")}


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


def test_no_module_outgrows_a_reader():
    long = {p.name: n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 700}
    assert not long
