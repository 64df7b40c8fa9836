"""The pursuit encoders against plain loops, which are written here, and against SAELens' matching pursuit.

    python -m benchmarks.pursuit [--quick] [--device cuda]

Prints a Markdown table: seconds of both sides (medians over alternating runs), their ratio, the ratio to reach, peak
memory, and the shortest time that this machine's matrix products and memory bandwidth allow for the work. Atoms are
random and of norm 1; IHTP also runs on tokens with planted sparse codes, whose supports are as small as those of real
activations.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import measure, table
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, unit_atoms
from sae_research.saes.kernels import pursuit

MEBI = 2**20


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    d_in: int
    d_sae: int
    sequences: int
    tokens: int
    """In each sequence."""
    reference: Callable[[Tensor, Sae], Tensor]
    """The implementation to compare with."""
    architecture: str
    options: Mapping[str, Any]
    bar: float
    """How many times as fast as the reference it should be."""
    runs: int = 5
    planted: int = 0
    """Atoms that each token is made of; 0: tokens are normal noise."""

    def sae(self, device: str) -> Sae:
        """An SAE with random atoms."""
        generator = torch.Generator().manual_seed(0)
        atoms = unit_atoms(torch.randn(self.d_sae, self.d_in, generator=generator))
        card = SaeCard(self.name, self.architecture, Site(0, "resid_post"), self.d_in, self.d_sae, "none", self.options)
        return build_sae(card, {"W_dec": atoms, "b_dec": torch.zeros(self.d_in)}).to(device)

    def inputs(self, sae: Sae) -> Tensor:
        """The activations to encode."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(self.sequences, self.tokens, self.d_in, generator=generator)
        if not self.planted:
            return x.to(sae.W_dec.device)
        # Tokens of a sequence draw from a few atoms, as the words of one text do.
        weights = torch.zeros(self.sequences, self.tokens, self.d_sae)
        pool = torch.randint(self.d_sae, (self.sequences, 1, 8 * self.planted), generator=generator)
        draws = torch.rand(self.sequences, self.tokens, 8 * self.planted, generator=generator).argsort(-1)
        atoms = pool.expand(-1, self.tokens, -1).gather(-1, draws[..., : self.planted])
        weights.scatter_(-1, atoms, 1 + torch.rand(atoms.shape, generator=generator))
        return (weights.to(sae.W_dec.device) @ sae.W_dec) + 0.02 * x.to(sae.W_dec.device)


def plain_matching_pursuit(x: Tensor, sae: Sae) -> Tensor:
    """MPSAE as in the project's seed: every step computes all correlations anew."""
    rest, D = (x - sae.b_dec).reshape(-1, x.shape[-1]), sae.W_dec
    codes = rest.new_zeros(len(rest), len(D))
    for _ in range(sae.card.hyperparameters["s"]):
        correlations = rest @ D.T
        atom = correlations.abs().argmax(dim=1, keepdim=True)
        value = correlations.gather(1, atom)
        codes.scatter_add_(1, atom, value)
        rest = rest - value * D[atom.squeeze(1)]
    return codes.reshape(*x.shape[:-1], -1)


def plain_ihtp(x: Tensor, sae: Sae) -> Tensor:
    """IHTP as in the project's seed: a `torch.linalg.lstsq` for each sequence."""
    k, D = sae.card.hyperparameters["k"], sae.W_dec
    codes = x.new_zeros(*x.shape[:-1], len(D))
    for sequence_codes, y in zip(codes, x - sae.b_dec, strict=True):
        support = (y @ D.T).abs().topk(k, dim=-1).indices.unique()
        sequence_codes[:, support] = torch.linalg.lstsq(D[support].T, y.T).solution.T
    return codes


def lens_matching_pursuit(x: Tensor, sae: Sae) -> Tensor:
    """SAELens' matching pursuit, set to run all steps."""
    from sae_lens.saes.matching_pursuit_sae import MatchingPursuitSAE, MatchingPursuitSAEConfig

    config = MatchingPursuitSAEConfig(
        d_in=sae.card.d_in,
        d_sae=sae.card.d_sae,
        device=str(sae.W_dec.device),
        residual_threshold=0.0,
        max_iterations=int(sae.card.hyperparameters["s"]),
        stop_on_duplicate_support=False,
    )
    lens = MatchingPursuitSAE(config)
    lens.load_state_dict({"W_dec": sae.W_dec, "b_dec": sae.b_dec}, strict=False)
    with torch.no_grad():
        return lens.encode(x)


def cases(*, quick: bool) -> list[Case]:
    """The comparisons; on fewer tokens if `quick`."""
    many = 256 if quick else 1024
    small, large = {"s": 100}, {"s": 50}
    return [
        Case("MPSAE s=100", 512, 4096, 1, many, plain_matching_pursuit, "mpsae", small, 6, runs=3),
        Case("MPSAE s=50", 2304, 16384, 1, many // 4, plain_matching_pursuit, "mpsae", large, 10, runs=1 + 2 * quick),
        Case("IHTP k=10, noise", 512, 4096, many // 64, 128, plain_ihtp, "ihtp", {"k": 10}, 7),
        Case("IHTP k=10, planted", 512, 4096, many // 64, 128, plain_ihtp, "ihtp", {"k": 10}, 7, planted=10),
        Case("against SAELens, s=50", 512, 4096, 1, many // 4, lens_matching_pursuit, "mpsae",
             {"s": 50, "nonneg": True}, 5, runs=3),
    ]  # fmt: skip


class Machine(NamedTuple):
    """What this machine can do, measured now."""

    flops: float
    bandwidth: float


def probe(device: str) -> Machine:
    """The best of a few float32 matrix products and copies."""
    a = torch.randn(2048, 2048, device=device)
    big = torch.empty(64 * MEBI // 4, device=device).normal_()
    target = torch.empty_like(big)
    product = min(measure(lambda: a @ a).seconds for _ in range(5))
    copy = min(measure(lambda: target.copy_(big)).seconds for _ in range(5))
    return Machine(2 * 2048**3 / product, 2 * 4 * big.numel() / copy)


def floor(case: Case, codes: Tensor, machine: Machine) -> float:
    """Seconds that the necessary operations and bytes take at the machine's best.

    Matching pursuit: the first correlations, a Gram row per step, the codes written. IHTP: correlations, the normal
    equations of the smaller side (half of a symmetric product), their factor, two substitutions, the codes.
    """
    n, d, tokens = case.d_sae, case.d_in, case.sequences * case.tokens
    flops, out = 2.0 * tokens * n * d, 4.0 * tokens * n
    if case.architecture == "mpsae":
        rows = 4.0 * n * case.options["s"] * tokens
        return flops / machine.flops + (rows + out) / machine.bandwidth
    for m in codes.any(dim=1).sum(-1).tolist():
        short = min(m, d)
        flops += m * d * short + short**3 / 3 + 2.0 * case.tokens * (short**2 + m * d * (m >= d))
    return flops / machine.flops + out / machine.bandwidth


def compare(case: Case, device: str, machine: Machine) -> list[object]:
    """A row of the table."""
    sae = case.sae(device)
    x = case.inputs(sae)
    first = measure(lambda: sae.encode(x))
    reference, ours = [], []
    for _ in range(case.runs):
        reference.append(measure(lambda: case.reference(x, sae)))
        ours.append(measure(lambda: sae.encode(x)))
    codes, expected = ours[-1].value, reference[-1].value
    apart = float((sae.decode(codes) - sae.decode(expected)).norm() / x.norm())
    slow, fast = (statistics.median(run.seconds for run in runs) for runs in (reference, ours))
    shortest = floor(case, codes, machine)
    size = f"{case.d_in} / {case.d_sae} / {case.sequences * case.tokens}"
    peaks = [max(run.peak_bytes for run in runs) // MEBI for runs in (reference, ours)]
    return [case.name, size, slow, fast, slow / fast, case.bar, first.seconds, *peaks, shortest, fast / shortest, apart]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tokens: under a minute")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="run the comparisons whose name holds this text")
    options = parser.parse_args()
    pursuit.library()
    machine = probe(options.device)
    load = os.getloadavg()[0]
    print(
        f"{options.device}, {torch.get_num_threads()} threads, load {load:.1f}, "
        f"kernel {pursuit.library() is not None}, "
        f"{machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s, "
        f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'not set')}\n"
    )
    header = ["part", "d_in / d_sae / tokens", "reference s", "ours s", "ratio", "bar", "first call s"]
    header += ["reference MiB", "ours MiB", "floor s", "ours / floor", "x_hat apart"]
    wanted = [case for case in cases(quick=options.quick) if options.only in case.name]
    print(table(header, [compare(case, options.device, machine) for case in wanted]))


if __name__ == "__main__":
    main()
