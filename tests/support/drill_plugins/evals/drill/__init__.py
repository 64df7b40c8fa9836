"""Measures nothing, slowly."""
