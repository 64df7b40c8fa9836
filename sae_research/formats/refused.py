"""Why some checkpoints are no SAE that can be measured, in one place for all formats."""

from __future__ import annotations

TRANSCODER = (
    "it is a transcoder: it reads one activation and predicts another, and the evals put a reconstruction in the place "
    "of what was read; choose an SAE"
)
SKIPS = (
    "it adds a linear map of its input, so its reconstruction is no function of its codes, which the evals change one "
    "by one; choose an SAE without it"
)
PREDICTS = (
    "what it adds to its codes is predicted by attention over the earlier tokens, so its reconstruction is no function "
    "of the codes, which the evals change one by one; choose an SAE of another architecture"
)
