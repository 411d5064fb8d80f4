"""All that meets Numba: functions inside `@njit` code, and foreign functions in kernels."""
