"""Data sets: running text, and texts with labels."""
