"""The core eval: sparsity, reconstruction, and what the language model loses when it reads the reconstruction.

Sign policy: a latent fires where its code is not 0, whatever the sign; L1 sums absolute values. SAEBench counts codes
above 0 and sums codes with their sign; its values are reported as `..._sae_bench`.

SAEBench: Karvonen et al. 2025, https://arxiv.org/abs/2503.09532
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, OverviewPanel, SaeBenchSchema
from sae_research.evals.core.notes import core_notes
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.core.specs import CORE_SPECS, OTHER_FORMULA
from sae_research.evals.shared.text_data import text_data

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: CoreSettings) -> list[DataSet]:
    """The running text."""
    return [text_data("dataset", settings.dataset)]


def run(context: EvalContext, saes: Sequence[Sae], settings: CoreSettings) -> Iterator[Outcome]:
    """One pass of the language model over the same tokens for all SAEs, or two where some want rows without BOS."""
    from sae_research.evals.core.measure import CorePlan, measure_core
    from sae_research.evals.core.rows import core_rows

    plan = CorePlan(
        settings.batch_size,
        settings.n_reconstruction_sequences,
        keep_special=settings.exclude_special_tokens_from_reconstruction,
    )
    for group, rows in core_rows(context, saes, settings):
        yield from measure_core(context, group, rows, plan)


CORE = Eval(
    name="core",
    section="core_eval",
    settings=CoreSettings,
    specs=CORE_SPECS,
    data=data,
    run=run,
    main_columns={"ce_loss_increase": {}, "explained_variance": {}, "frac_alive": {}},
    has_own_stage=True,
    notes=core_notes,
    takes={"texts": "dataset"},
    overview=OverviewPanel(3, "explained_variance"),
    sae_bench=SaeBenchSchema(
        type_id="core",
        whole=frozenset({"total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"}),
        required_details=frozenset(
            {
                "feature_density",
                "consistent_activation_heuristic",
                "encoder_bias",
                "encoder_norm",
                "encoder_decoder_cosine_sim",
                "max_decoder_cosine_sim",
                "max_encoder_cosine_sim",
            }
        ),
        details_table="latents",
        minus_one_is_missing=True,
        other_formula=OTHER_FORMULA,
        config_names={
            "n_reconstruction_batches": "n_eval_reconstruction_batches",
            "n_sparsity_batches": "n_eval_sparsity_variance_batches",
            "batch_size": "batch_size_prompts",
        },
        config_constants=dict.fromkeys(
            (
                "compute_kl",
                "compute_ce_loss",
                "compute_l2_norms",
                "compute_sparsity_metrics",
                "compute_variance_metrics",
                "compute_featurewise_density_statistics",
                "compute_featurewise_weight_based_metrics",
            ),
            True,
        ),
    ),
)
