"""Spurious-correlation removal."""
