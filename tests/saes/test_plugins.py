"""Two architectures, one file each in a folder of plug-ins, pass every contract test without another file changing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STRONGEST = '''
"""The atom most correlated with a token, and nothing else: a pursuit on the dictionary alone."""

from dataclasses import dataclass
from typing import final

from sae_research.saes.base import DICTIONARY, Sae, centred, zero_masked


@dataclass(frozen=True)
class Settings:
    """Options of the toy."""

    scale: float
    """What its codes are multiplied by."""


@final
class StrongestSae(Sae):
    settings_type = Settings
    settings: Settings
    shapes = DICTIONARY

    def encode(self, x, mask=None):
        correlations = centred(self, x) @ self.W_dec.T
        strongest = correlations.abs() == correlations.abs().amax(dim=-1, keepdim=True)
        return zero_masked(correlations * strongest * self.settings.scale, mask)
'''

CAPPED = '''
"""A ReLU with an upper end: a linear encoder that SAELens could have."""

from dataclasses import dataclass
from typing import final

from sae_research.saes.about import About
from sae_research.saes.linear import BIASED, LinearSae

ABOUT = About(title="Capped ReLU", marker="s", color="#123456", sae_lens_names=("capped_relu",))


@dataclass(frozen=True)
class Settings:
    """Options of the toy."""

    cap: float
    """The largest code."""
    subtract_b_dec: bool = True


@final
class CappedSae(LinearSae):
    settings_type = Settings
    settings: Settings
    shapes = BIASED

    def activate(self, products):
        return (products + self.b_enc).clamp(0, self.settings.cap)

    def firing(self):
        return None
'''

USE = """
import json, sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from support.saes import random_sae

from sae_research.formats.registry import read_sae
from sae_research.pipeline.variants import derive_variants
from sae_research.plots.labels import label_text
from sae_research.saes.build import held_tensors
from sae_research.saes.encoding import Encoder
from sae_research.saes.codes import joined

variants = derive_variants(random_sae("relu"), {"strongest": {"scale_values": [1.0, 2.0]}})
assert [dict(v.card.hyperparameters) for v in variants] == [{"scale": 1.0}, {"scale": 2.0}]

capped = random_sae("capped", cap=0.5)
folder = Path(sys.argv[1])
folder.mkdir()
save_file(held_tensors(capped), folder / "sae_weights.safetensors")
metadata = {"hook_name": "blocks.0.hook_resid_post", "model_name": "gpt2"}
config = {"architecture": "capped_relu", "cap": 0.5, "d_in": 6, "d_sae": 16, "metadata": metadata}
(folder / "cfg.json").write_text(json.dumps(config))
read = read_sae(folder, name="theirs", source={})
x, real = torch.randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool)
assert read.card.architecture == "capped"
assert torch.equal(read.encode(x), capped.encode(x))
assert torch.equal(joined(Encoder(read).encode(x, real)).dense(16), capped.encode(x).flatten(0, 1))
assert 0 < read.encode(x).max() <= 0.5

assert (label_text("capped", "computed"), label_text("strongest", "computed")) == ("Capped ReLU", "strongest")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the two plug-ins."""
    plugins = tmp_path_factory.mktemp("plugins")
    folder = plugins / "saes" / "architectures"
    folder.mkdir(parents=True)
    (folder / "strongest.py").write_text(STRONGEST)
    (folder / "capped.py").write_text(CAPPED)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return {**os.environ, "SAE_PLUGINS": str(plugins), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def test_they_pass_the_contract_tests(environment: dict[str, str]) -> None:
    files = ("saes/test_architectures.py", "saes/test_encoding.py", "formats/test_saelens.py", "plots/test_settings.py")
    options = ["-p", "no:cacheprovider", "-n", "0", "-vv", "-k", "strongest or capped or apart"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{file}" for file in files)]
    tested = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    for architecture in ("strongest", "capped"):
        contracts = [line for line in tested.stdout.split("\n") if f"[{architecture}]" in line and "PASSED" in line]
        assert len(contracts) >= 12, tested.stdout


def test_they_are_variants_comparisons_and_labels(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE, str(tmp_path / "folder")]
    used = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert used.returncode == 0, used.stderr
