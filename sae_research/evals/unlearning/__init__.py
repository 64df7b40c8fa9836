"""Unlearning."""
