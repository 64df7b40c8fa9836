"""Trains SAEs with SAELens' trainers on activations of our own language model."""
