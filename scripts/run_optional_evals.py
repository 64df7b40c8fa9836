"""One optional eval of every SAE -> eval_results/<eval>/; a disabled one leaves only its `_status.json`.

Those that look closer at latents (dashboards) run where they are named: they need the merged results of the others.
"""

from __future__ import annotations

from functools import partial

from sae_research.pipeline.runtime import end_process, run_as_stage, script_parser


def chosen_evals() -> list[str]:
    """The evals that the arguments name."""
    from sae_research.evals.registry import closer_evals, optional_evals

    parser = script_parser(__doc__)
    parser.add_argument(
        "--eval",
        choices=[*optional_evals(), *closer_evals()],
        help=f"default: {', '.join(optional_evals())}, one after the other",
    )
    chosen = parser.parse_args().eval
    return [chosen] if chosen else list(optional_evals())


def run_optional_eval(name: str) -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.evals import eval_stage

    eval_stage(name)


if __name__ == "__main__":
    names: list[str] = []
    code = run_as_stage(lambda: names.extend(chosen_evals()))
    for name in names:
        code = max(code, run_as_stage(partial(run_optional_eval, name)))
    end_process(code)
