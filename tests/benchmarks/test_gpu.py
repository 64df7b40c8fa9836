"""`python -m benchmarks.gpu`: all parts run, rows come as they are measured, products are counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.simulated_gpu import simulated_gpu

from benchmarks.gpu import main
from benchmarks.gpu_parts import PARTS
from benchmarks.peak import Operations, share_of_peak
from sae_research.evals.registry import eval_names

ROOT = Path(__file__).parents[2]
LACKING = ("sae_lens", "sae_bench", "transformer_lens", "dvc", "ray", "ruamel", "accelerate", "openai", "nltk")
"""What a borrowed machine lacks."""


def test_all_evals_without_what_a_borrowed_machine_lacks() -> None:
    """In one process: the tests marked `gpu` are found, and the benchmark runs."""
    marked = [str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark" + ".gpu" in path.read_text()]
    collect = ["--collect-only", "-q", "-m", "gpu", "-p", "no:cacheprovider", *marked]
    script = f"""
import sys
for name in {LACKING}: sys.modules[name] = None
import pytest
code = pytest.main({collect})
from benchmarks.gpu import main
main(["--device", "cpu", "--small", "--shapes", "gemma-2-2b-shaped"])
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/evals/test_gpu.py: " in done.stdout
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.split("\n") if line[:1] == "|"]
    header, _, *rows = lines
    assert [row[:2] for row in rows] == [["gemma-2-2b-shaped", part] for part in PARTS]
    for row in rows:
        values = dict(zip(header, row, strict=True))
        assert int(values["tokens"]) > 0 and float(values["s"]) > 0 and float(values["TFLOP"]) > 0, row
        assert int(values["calls"]) > 100, row
        assert values["peak"] == "", "a processor has no peak in the list"


def test_there_is_a_part_for_every_eval() -> None:
    assert sorted(PARTS) == sorted(eval_names())


def test_parts_can_be_chosen_and_end_at_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--device", "cpu", "--small", "--shapes", "pythia-70m-shaped", "--parts", "dashboards", "tpp"]
    assert main([*line, "--limit", "-1"]) == []
    assert "not begun within -1 s: dashboards on pythia-70m-shaped, tpp on pythia" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which needs no stand-in")
def test_with_tf32_and_without_on_a_card_of_known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.card_name", lambda _: "NVIDIA H200")
    with simulated_gpu() as device:
        rows = main(["--device", device, "--small", "--shapes", "pythia-70m-shaped", "--parts", "core", "scr"])
    assert [(row.part, row.tf32) for row in rows] == [
        ("core", False), ("core", True), ("scr", False), ("scr", True),
    ]  # fmt: skip
    assert all(row.share is not None and 0 < row.share < 1 for row in rows)
    assert rows[0].flop == rows[1].flop
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which needs no stand-in")
def test_ravel_shares_runs_of_the_model_on_a_gpu() -> None:
    line = ["--small", "--shapes", "pythia-70m-shaped", "--parts", "ravel", "--tf32", "off"]
    [on_cpu] = main(["--device", "cpu", *line])
    with simulated_gpu() as device:
        [on_gpu] = main(["--device", device, *line])
    assert on_gpu.calls < 0.6 * on_cpu.calls


def test_operations_are_counted() -> None:
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    with Operations() as operations:
        torch.mm(a, b)
        torch.bmm(a.bfloat16()[None], b.bfloat16()[None])
        torch.nn.functional.linear(a.double(), b.T.double(), torch.ones(5).double())
        torch.add(a, 1)
    assert operations.flop == {"float32": 120, "bfloat16": 120, "float64": 120}
    # Five conversions and a vector of ones beside the four that are written above; views compute nothing.
    assert operations.calls == 10
    # 60 T in float32 at 66.9 T/s (494.7 with TF32) and 98.94 T in bfloat16 at 989.4 T/s, in 2 s.
    flop = {"float32": int(60e12), "bfloat16": int(98.94e12)}
    assert share_of_peak(flop, 2.0, "NVIDIA H200", tf32=False) == pytest.approx((60 / 66.9 + 0.1) / 2)
    assert share_of_peak(flop, 2.0, "NVIDIA H200", tf32=True) == pytest.approx((60 / 494.7 + 0.1) / 2)
    assert share_of_peak(flop, 2.0, "an unknown card", tf32=False) is None
    assert share_of_peak({"int8": 1}, 2.0, "NVIDIA H200", tf32=False) is None
