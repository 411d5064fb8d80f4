"""Program to Source: readable Python that Numba compiles to kernels."""
