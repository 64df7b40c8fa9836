"""Dashboards: what single latents do on text, for people to look at."""
