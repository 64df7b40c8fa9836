"""What several checkpoint formats need."""
