"""Pursuit on a fixed dictionary: choose atoms, then fit codes on them."""
