"""Write down what lies in local folders outside the project, so that DVC notices a change -> local_folders.json."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def check_local_folders() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.local_folders import local_folders_stage

    local_folders_stage()


if __name__ == "__main__":
    run_script(check_local_folders, __doc__)
