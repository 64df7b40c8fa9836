"""Checkpoints of other projects on a hub: named in `comparison_saes`, fetched with what lies beside them."""

from __future__ import annotations

import json
from pathlib import Path

from support.checkpoints import CHECKPOINTS
from support.hub_server import Repo, run_against, running_hub

NAMES = ["goodfire", "qwen_scope", "attention_z", "openai v5", "apollo hub", "llama_scope topk", "nested_topk"]
SCRIPT = """
import json, sys
from pathlib import Path
from sae_research.pipeline.fetched_saes import fetch_comparison
from sae_research.pipeline.sections import ComparisonSae
from sae_research.sources.hub import Hub
hub = Hub(Path("no-world"))
saes = [sae for entry in {entries} for sae in fetch_comparison(hub, ComparisonSae(**entry))]
print(json.dumps([[s.card.name, s.card.site.hook_name, s.card.source["format"], s.card.digest] for s in saes]))
"""


def test_files_are_fetched_with_their_companions_and_nothing_else(tmp_path: Path) -> None:
    repos, entries = {}, []
    for number, name in enumerate(NAMES):
        checkpoint, folder = CHECKPOINTS[name], tmp_path / str(number)
        checkpoint.write(folder)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        repos[f"them/{number}"] = Repo({"main": {**files, "other.pt": b"not wanted"}})
        entries.append({"repo_id": f"them/{number}", "filename": checkpoint.filename, **checkpoint.source})
    with running_hub(repos) as hub:
        done = run_against(hub.endpoint, tmp_path / "home", SCRIPT.format(entries=entries))
        assert done.returncode == 0, done.stderr
        assert not [path for _, path in hub.requests if "other.pt" in path]
    saes = json.loads(done.stdout)
    assert [sae[:3] for sae in saes] == [
        ["relu_sae", "blocks.1.hook_resid_post", "goodfire"],
        ["topk_layer1", "blocks.1.hook_resid_post", "qwen_scope"],
        ["relu_gpt2-small_L1_Hcat_z_v9", "blocks.1.attn.hook_z", "attention_z"],
        ["topk_resid_post_mlp_v5_32k_layer_1", "blocks.1.hook_resid_post", "openai"],
        ["relu_e2e_similar_ce_layer_1", "blocks.1.hook_resid_pre", "apollo"],
        ["topk_L1R", "blocks.1.hook_resid_post", "llama_scope"],
        ["abstopk_trainer_0", "blocks.1.hook_resid_post", "nested_topk"],
    ]
