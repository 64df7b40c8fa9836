"""What two or more evals use."""
