"""Sensitivity: do latents fire on new texts that a judge writes after their examples?"""
