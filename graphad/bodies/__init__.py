"""Arithmetic of kernels, written as LLVM values: elementary and special functions, random words."""
