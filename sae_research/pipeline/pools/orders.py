"""What a worker on another machine is sent: names and digests, no objects; and the digests that both sides compare."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sae_research.digests import digest_file, digest_of
from sae_research.errors import UserError
from sae_research.pipeline.params import Params, read_params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.planned import PlannedRun, plan_run
from sae_research.plugins import plugin_root
from sae_research.yaml_text import parse_yaml

_PACKAGE = Path(__file__).resolve().parents[2]
_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Order:
    """One run of `fill`, as its workers are told of it; all paths lie on a file system that they share."""

    root: str
    store: str
    params: str
    """The text of params.yaml when the run began."""
    evals: Sequence[str]
    code: str
    """`installed_code` of the process that gives the order."""
    plan: str
    """`digest_of_plan` of its run."""
    logs: str
    uses_gpu: bool


def order_for(run: PlannedRun, logs: Path, *, uses_gpu: bool) -> Order:
    """The order to compute what `run` plans."""
    return Order(
        root=str(run.paths.root),
        store=str(run.paths.store),
        params=run.paths.params.read_text(encoding="utf-8"),
        evals=tuple(run.cells),
        code=installed_code(),
        plan=digest_of_plan(run),
        logs=str(logs),
        uses_gpu=uses_gpu,
    )


def planned_here(order: Order) -> PlannedRun:
    """The run of the order, planned by this process; UserError unless it plans the same with the same code."""
    where = f"worker on {platform.node()}"
    if installed_code() != order.code:
        raise UserError(f"{where}: other code, or other versions of Python, {', '.join(_LIBRARIES)}; install the same")
    paths = Paths(root=Path(order.root), store=Path(order.store))
    if not paths.saes.is_dir():
        raise UserError(f"{where}: {paths.saes} is not there; the project must lie on a file system that all share")
    params = _on_device(read_params(parse_yaml(order.params, where="params.yaml"), where="params.yaml"), order.uses_gpu)
    run = plan_run(params, paths, order.evals)
    if digest_of_plan(run) != order.plan:
        raise UserError(f"{where}: plans other cells: its data sets, models or SAEs differ from those where fill runs")
    return run


def _on_device(params: Params, uses_gpu: bool) -> Params:
    """`params` on the device that the worker was given, the only one that it sees."""
    return replace(params, model=replace(params.model, device="cuda" if uses_gpu else "cpu"))


def digest_of_plan(run: PlannedRun) -> str:
    """The digest of all cells of the run."""
    return digest_of({name: [cell.key for cell in cells] for name, cells in run.cells.items()})


def installed_code() -> str:
    """The digest of the package, of plug-ins, and of the versions that numbers depend on."""
    roots = [_PACKAGE, *filter(None, [plugin_root()])]
    files = [
        (f"{number}/{path.relative_to(root).as_posix()}", path)
        for number, root in enumerate(roots)
        for kind in ("*.py", "*.cpp")
        for path in root.rglob(kind)
    ]
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES} | {"python": platform.python_version()}
    return digest_of([versions, {name: digest_file(path) for name, path in sorted(files)}])
