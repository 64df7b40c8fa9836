"""Linear algebra behind the encoders: many small least-squares problems, Gram matrices, selection."""
