"""One optional eval of every SAE -> eval_results/<eval>/; a disabled one leaves only its `_status.json`."""

from __future__ import annotations

from functools import partial

from sae_research.pipeline.runtime import end_process, run_as_stage, script_parser


def chosen_evals() -> list[str]:
    """The evals that the arguments name."""
    from sae_research.evals.registry import optional_evals

    parser = script_parser(__doc__)
    parser.add_argument("--eval", choices=optional_evals(), help="default: all of them, one after the other")
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
