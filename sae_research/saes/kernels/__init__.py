"""Compiled kernels, each a C++ source with its Python wrapper, and how they are compiled."""
