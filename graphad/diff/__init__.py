"""Derivatives of graphs: `pull_back` (reverse mode) and `push_forward` (forward mode)."""

from graphad.diff import loops  # noqa: F401 - gives loops and branches their rules
