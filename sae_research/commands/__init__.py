"""The commands of `python -m sae_research`, one a file: `HELP`, `add_arguments(parser)` and `run(parsed)`."""
