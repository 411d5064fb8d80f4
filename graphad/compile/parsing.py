"""Parsing kernel sources, in any number of threads."""

from __future__ import annotations

import ast
import contextlib

ATTEMPTS = 100


def definition_of(code: str) -> ast.FunctionDef:
    """The function that a source defines.

    CPython counts the depth of a tree that it makes in one place for all threads (issue 106905 of
    its tracker): where another thread parses meanwhile, it fails with a SystemError, and succeeds
    the next time.
    """
    for _ in range(ATTEMPTS):
        with contextlib.suppress(SystemError):
            return _parsed(code)
    return _parsed(code)


def _parsed(code: str) -> ast.FunctionDef:
    definition = ast.parse(code).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition
