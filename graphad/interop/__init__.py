"""Bridges to other libraries: sympy in and out."""
