"""Measure sparse autoencoders on language models, reproducibly."""

__version__ = "0.1.0"
