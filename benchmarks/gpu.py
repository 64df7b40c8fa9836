"""How fast every eval is on a GPU, and how near to the card's peak.

    python -m benchmarks.gpu                                # both shapes, all evals, with TF32 and without
    python -m benchmarks.gpu --parts core ravel --tf32 on
    python -m benchmarks.gpu --device cpu --small           # whether it runs

Random models of the shapes of Pythia-70M (float32) and Gemma-2-2B (bfloat16), four random SAEs of 16,384 latents at a
middle layer, random data: weights and text change no amount of work but how many latents fire, which the SAEs fix. Each
part is run once to warm up, while its operations are counted (`benchmarks.peak`), and once for each row. A row is
printed as soon as it is measured.

Columns: `tokens` are those that the model read up to the site, padding included, in runs that start at the first layer;
`tokens/s` is per second of the whole eval, all SAEs; `s/SAE` is seconds divided by SAEs; `GiB` is the peak above what
model and SAEs take, `calls` are operations that compute something (the host has to launch each of them, and a GPU that
is faster waits for it), `peak` is the share of the card's peak, blank for a card or device that is not in the list.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from benchmarks.gpu_parts import PARTS, SMALL, Amounts, Part, Subject, run_all
from benchmarks.measuring import measure, now
from benchmarks.peak import Operations, card_name, share_of_peak
from benchmarks.subjects import SHAPES

DTYPES = {"pythia-70m-shaped": torch.float32, "gemma-2-2b-shaped": torch.bfloat16}
BATCH_SIZES = {"pythia-70m-shaped": 512, "gemma-2-2b-shaped": 32}
"""Sequences of a pass of the model, as in the profiles `pythia-70m` and `gemma-2-2b`."""
ARCHITECTURES = ("relu", "topk", "batchtopk", "jumprelu")
_SMALL_SHAPES = {"pythia-70m-shaped": "tiny-neox", "gemma-2-2b-shaped": "tiny-gemma2"}
_WIDTH = 16_384
_TF32 = {"off": (False,), "on": (True,), "both": (False, True)}
_HEADER = ("model", "eval", "TF32", "tokens", "s", "tokens/s", "s/SAE", "GiB", "calls", "TFLOP", "peak")


class Row(NamedTuple):
    """One run of one eval."""

    model: str
    part: str
    tf32: bool
    tokens: int
    seconds: float
    n_saes: int
    peak_bytes: int
    calls: int
    flop: float
    share: float | None
    """Of the card's peak."""

    def line(self) -> str:
        """It as a line of the table."""
        peak = "" if self.share is None else f"{self.share:.1%}"
        cells = (
            self.model, self.part, "on" if self.tf32 else "off", f"{self.tokens}", f"{self.seconds:.2f}",
            f"{self.tokens / self.seconds:.0f}", f"{self.seconds / self.n_saes:.3f}", f"{self.peak_bytes / 2**30:.2f}",
            f"{self.calls}", f"{self.flop / 1e12:.3g}", peak,
        )  # fmt: skip
        return _line(cells)


def main(line: Sequence[str] | None = None) -> list[Row]:
    """Prints the table, and returns its rows."""
    arguments = _parse(line)
    started = now()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        # Work of other threads would not be counted.
        torch.set_num_threads(1)
    batches = ", ".join(f"{_batch_size(shape, arguments)} ({shape})" for shape in arguments.shapes)
    print(f"{card_name(device) or device}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}; sequences of a "
          f"pass: {batches}; SAEs: {', '.join(arguments.architectures)}\n")  # fmt: skip
    print(f"{_line(_HEADER)}\n{_line(['---'] * len(_HEADER))}", flush=True)
    rows: list[Row] = []
    left: list[str] = []
    for shape in arguments.shapes:
        subject: Subject | None = None
        for name in arguments.parts:
            if now() - started > arguments.limit:
                left.append(f"{name} on {shape}")
                continue
            subject = subject or _subject(shape, arguments)
            for row in _measured(shape, name, PARTS[name], subject, _TF32[arguments.tf32]):
                print(row.line(), flush=True)
                rows.append(row)
    print(
        f"\n{now() - started:.0f} s in all" + (f"; not begun within {arguments.limit:.0f} s: " if left else ""), end=""
    )
    print(", ".join(left))
    return rows


def _parse(line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu; default: cuda")
    parser.add_argument("--small", action="store_true", help="tiny models and little data: whether it runs")
    parser.add_argument("--shapes", nargs="+", choices=DTYPES, default=list(DTYPES), help="default: both")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="evals; default: all")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), help="of the SAEs, by turns")
    parser.add_argument("--tf32", choices=_TF32, default="both", help="whether float32 products may use TF32")
    parser.add_argument("--batch-size", type=int, help="sequences of a pass of the model; default: as in the profiles")
    parser.add_argument(
        "--limit", type=float, default=480.0, help="seconds after which no further part is begun; default: 480"
    )
    return parser.parse_args(line)


def _subject(name: str, arguments: argparse.Namespace) -> Subject:
    shape = SHAPES[_SMALL_SHAPES[name]] if arguments.small else replace(SHAPES[name], d_sae=_WIDTH)
    amounts = SMALL if arguments.small else Amounts()
    return Subject.of(
        shape, arguments.architectures, amounts, device=arguments.device, dtype=DTYPES[name],
        batch_size=_batch_size(name, arguments),
    )  # fmt: skip


def _batch_size(name: str, arguments: argparse.Namespace) -> int:
    return arguments.batch_size or BATCH_SIZES[name]


def _measured(model: str, name: str, part: Part, subject: Subject, ways: Sequence[bool]) -> Iterator[Row]:
    """A row for each of `ways`: without TF32 or with it."""
    lm = subject.context.lm
    with torch.no_grad():
        work = part(subject)
        with Operations() as operations:
            run_all(work)
    before = torch.backends.cuda.matmul.allow_tf32
    for tf32 in (False,) if lm.device.type == "cpu" else ways:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        read = lm.tokens_read
        try:
            with torch.no_grad():
                cost = measure(lambda: run_all(work))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        share = share_of_peak(operations.flop, cost.seconds, card_name(lm.device), tf32=tf32)
        yield Row(
            model, name, tf32, lm.tokens_read - read, cost.seconds, len(subject.saes), cost.peak_bytes,
            operations.calls, operations.flop.total(), share,
        )  # fmt: skip


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
