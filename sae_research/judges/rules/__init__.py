"""A judge that is no language model: rules over words, from the prompt and from text that it has read."""
