"""Sparse autoencoders: the base and one file per architecture."""
