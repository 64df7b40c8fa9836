"""What the evals that ask a judge share: where latents fire, and the windows of text that a judge is shown."""
