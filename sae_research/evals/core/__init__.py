"""The core eval."""
