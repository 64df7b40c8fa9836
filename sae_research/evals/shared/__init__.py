"""Code that two or more evals use."""
