"""Derivatives of graphs: `pull_back` (reverse mode) and `push_forward` (forward mode)."""
