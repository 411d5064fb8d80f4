"""Bijectors, one idea a file."""
