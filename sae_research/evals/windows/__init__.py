"""Where latents fire in text, and windows of it, for the evals that show latents to a judge or to people."""
