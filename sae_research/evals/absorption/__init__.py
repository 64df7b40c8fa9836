"""Absorption of first letters."""
