"""Data sets: streams of text, and texts with labels."""
