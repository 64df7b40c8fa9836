"""Sparse probing."""
