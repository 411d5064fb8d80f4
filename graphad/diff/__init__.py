"""Derivatives of graphs: `pull_back` (reverse mode) and `push_forward` (forward mode)."""

from graphad.diff import loop_rules  # noqa: F401 - gives loops and branches their rules
