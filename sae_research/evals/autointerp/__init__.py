"""Automated interpretability: can a judge tell where a latent is active from an explanation of it?"""
