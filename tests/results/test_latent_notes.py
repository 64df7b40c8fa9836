"""Notes on latents: what they are for, in the table too."""

from __future__ import annotations

from pathlib import Path

from support.workspace import make_card, make_core

from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.unlearning.eval import UNLEARNING
from sae_research.measurements import EvalOutput
from sae_research.results.latent_notes import NoteRow, all_notes, notes_by_sae
from sae_research.results.merge import Entry
from sae_research.results.rows import table_as_parquet


def test_a_note_says_which_letter_or_data_set_it_is_for(tmp_path: Path) -> None:
    absorption = EvalOutput((), unstructured={"split_features": {"a": [3, 5]}})
    probing = EvalOutput((), unstructured={"best_latents": {"news": {"sports": 7}}, "news_results": {}})
    chosen = {"retain_threshold": 0.01, "n": 2, "multiplier": 5}
    clamped = [{"retain_threshold": 0.01, "n": n, "latents": latents} for n, latents in ((1, [8]), (2, [8, 9]))]
    unlearning = EvalOutput((), unstructured={"chosen": chosen, "latents": clamped})
    notes = (*ABSORPTION.notes(absorption), *SPARSE_PROBING.notes(probing), *UNLEARNING.notes(unlearning))
    assert [(note.latent, note.text, dict(note.at)) for note in notes] == [
        (3, "a, 1 of 2", {"letter": "a"}),
        (5, "a, 2 of 2", {"letter": "a"}),
        (7, "news: sports", {"dataset": "news"}),
        (8, "one of 2", chosen),
        (9, "one of 2", chosen),
    ]
    entry = Entry("computed", "topk_k8", "absorption", make_core(make_card()), (), notes=notes)
    (tmp_path / "notes.parquet").write_bytes(table_as_parquet(all_notes([entry]), NoteRow))
    rows = notes_by_sae(tmp_path / "notes.parquet")["topk_k8"]
    assert [row.at for row in rows][:3] == ['{"letter": "a"}'] * 2 + ['{"dataset": "news"}']
    assert not [*UNLEARNING.notes(EvalOutput((), unstructured={"protocol": "letters"}))]
