"""A language model folder in TransformerLens, as SAEBench loads its models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch


def load_lens(folder: Path, *, device: str = "cpu", dtype: str = "float32") -> Any:
    """`HookedTransformer.from_pretrained_no_processing` of a local folder.

    TransformerLens reads the config of a local folder, then looks its name up in the table of official names; that
    look-up alone is answered here.
    """
    with warnings.catch_warnings():
        # Of TransformerLens itself, which calls this loader deprecated.
        warnings.simplefilter("ignore")
        import torch
        import transformer_lens.loading_from_pretrained as loading
        from transformer_lens import HookedTransformer

        official = loading.get_official_model_name

        def name_of(name: str) -> str:
            return name if Path(name).is_dir() else official(name)

        with patch.object(loading, "get_official_model_name", name_of):
            return HookedTransformer.from_pretrained_no_processing(
                str(folder), device=device, dtype=getattr(torch, dtype), default_prepend_bos=True
            )
