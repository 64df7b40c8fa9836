"""Measurements that a finished world must pass."""
