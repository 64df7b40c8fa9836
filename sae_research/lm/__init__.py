"""The language model: load, capture a site, resume from a site, tokens."""
