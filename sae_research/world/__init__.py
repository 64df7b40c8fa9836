"""The embedded world: a seeded grammar, a language model trained on it, and SAEs trained on the model."""
