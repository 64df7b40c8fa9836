"""Scores that deserve a known verdict of the audit."""
