"""How large windows are. Needs no torch."""

BUFFER = 10
"""Tokens of a window on each side of its centre."""
