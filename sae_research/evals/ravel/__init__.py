"""RAVEL."""
