"""The workers of a Ray cluster that is already up, one process each with its GPUs; needs the extra `ray`.

Retries are ours: Ray's own use up their number before it notices that a node is dead, or wait for it for ever. So no
worker is restarted; a new one is asked for, and takes part once it has answered.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sae_research.errors import UserError
from sae_research.pipeline.dispatch import Event, Finished, Lost, Ready, Stranded
from sae_research.pipeline.jobs import Job
from sae_research.pipeline.planned import PlannedRun
from sae_research.pipeline.pools.orders import Order, order_for
from sae_research.pipeline.pools.ray_worker import RayWorker

log = logging.getLogger(__name__)

_TICK = 1.0
_PATIENCE = 300.0
_PATIENCE_VARIABLE = "SAE_FILL_PATIENCE"
"""Seconds without any worker after which a run ends."""
_STARTS = 3
"""Workers that die before they are ready cost the cluster one place each so many times."""
_PASSED_ON = ("HF_HUB_OFFLINE", "SAE_PLUGINS", "SAE_NO_REUSE", "SAE_DEBUG")
_ADDRESS = re.compile(r"auto|\[?[A-Za-z0-9_.:-]+\]?:[0-9]{1,5}")
Step = Literal["greet", "prepare", "do"]


@contextmanager
def ray_pool(run: PlannedRun, address: str | None, logs: Path) -> Iterator[RayPool]:
    """The cluster at `address` until the block ends; UserError with the remedy where it cannot be used."""
    if address is None or not _ADDRESS.fullmatch(address):
        got = "no address" if address is None else f"address {address!r}"
        raise UserError(
            f"--executor ray: got {got}, expected host:port, or auto on a machine of the cluster (--address, or "
            "execution.address); docs/scaling.md says how to start one"
        )
    _require_token()
    ray = _import_ray()
    with _signals_kept():
        _connect(ray, address)
    try:
        gpus = run.params.execution.gpus_per_worker
        uses_gpu = run.params.model.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= gpus
        if run.params.model.device.startswith("cuda") and not uses_gpu:
            raise UserError(
                f"model.device is {run.params.model.device}, but the cluster at {address} has fewer than {gpus:g} "
                "GPUs; start its nodes with --num-gpus, or set model.device: auto"
            )
        pool = RayPool(ray, order_for(run, logs, uses_gpu=uses_gpu), gpus if uses_gpu else 0.0)
        yield pool
        pool.dismiss()
    finally:
        with _signals_kept():
            ray.shutdown()


@dataclass
class _Actor:
    handle: Any
    is_up: bool = False
    """Whether it has answered."""
    is_ready: bool = False
    """Whether its model is loaded."""


class RayPool:
    """Asks for as many workers as the cluster has room for and jobs need."""

    def __init__(self, ray: Any, order: Order, gpus_per_worker: float) -> None:
        self._ray, self._order, self._gpus = ray, order, gpus_per_worker
        self._actor_class = ray.remote(
            num_cpus=1, num_gpus=gpus_per_worker, max_restarts=0, max_task_retries=0
        )(RayWorker)  # fmt: skip
        self._actors: dict[str, _Actor] = {}
        self._calls: dict[Any, tuple[str, Step]] = {}
        self._n_asked = self._n_refused = self._n_died_early = 0
        self._last_reason = "the cluster has no room for a worker"
        self._last_up = time.monotonic()
        self._patience = _patience()

    def give(self, worker: str, job: Job) -> None:
        """Has the worker begin `job`."""
        self._call(worker, "do", job.eval_name, job.saes)

    def wait(self, open_jobs: int) -> Event | None:
        """What happens next, if anything does within a second."""
        self._ask_for_workers(open_jobs)
        finished: list[Any] = []
        if self._calls:
            finished, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=_TICK)
        else:
            time.sleep(_TICK)
        if any(actor.is_up for actor in self._actors.values()):
            self._last_up = time.monotonic()
        if finished:
            return self._answer(finished[0])
        waited = time.monotonic() - self._last_up
        return Stranded(f"no worker for {waited:.0f} s: {self._last_reason}") if waited > self._patience else None

    def dismiss(self) -> None:
        """Ends all workers."""
        for worker in list(self._actors):
            self._drop(worker)

    def _room(self) -> int:
        """Workers that the cluster has room for, whatever runs on it now."""
        resources = self._ray.cluster_resources()
        room = resources.get("GPU", 0) / self._gpus if self._gpus else resources.get("CPU", 0)
        return int(room) - self._n_refused - self._n_died_early // _STARTS

    def _ask_for_workers(self, open_jobs: int) -> None:
        # One is always asked for: a node may come that has room for it.
        wanted = min(open_jobs, max(self._room(), 0 if self._n_refused or self._n_died_early >= _STARTS else 1))
        while len(self._actors) < wanted:
            self._n_asked += 1
            worker = str(self._n_asked)
            self._actors[worker] = _Actor(self._actor_class.remote(self._order, worker))
            self._call(worker, "greet")
            self._call(worker, "prepare")

    def _call(self, worker: str, step: Step, *arguments: Any) -> None:
        call = getattr(self._actors[worker].handle, step).remote(*arguments)
        self._calls[call] = (worker, step)

    def _answer(self, call: Any) -> Event | None:
        worker, step = self._calls.pop(call)
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            return self._lose(worker, _reason(error))
        actor = self._actors[worker]
        if step == "greet":
            actor.is_up = True
            log.info("worker %s: %s", worker, answer)
        elif step == "do":
            return Finished(worker, answer)
        elif answer is None:
            actor.is_ready = True
            return Ready(worker)
        else:
            self._n_refused += 1
            self._last_reason = answer
            self._drop(worker)
            log.error("worker %s takes no part: %s", worker, answer)
            if not self._actors and self._room() <= 0:
                return Stranded(answer)
        return None

    def _lose(self, worker: str, reason: str) -> Event | None:
        was_ready = self._actors[worker].is_ready
        self._drop(worker)
        if was_ready:
            return Lost(worker, reason)
        self._n_died_early += 1
        self._last_reason = reason
        log.warning("worker %s died before it was ready: %s", worker, reason)
        return Stranded(reason) if not self._actors and self._room() <= 0 else None

    def _drop(self, worker: str) -> None:
        """Forgets a worker, and ends it where it is still there: what it would store later is no harm, but no use."""
        self._calls = {call: named for call, named in self._calls.items() if named[0] != worker}
        self._ray.kill(self._actors.pop(worker).handle)


def _patience() -> float:
    stated = os.environ.get(_PATIENCE_VARIABLE)
    try:
        return float(stated) if stated else _PATIENCE
    except ValueError:
        raise UserError(f"{_PATIENCE_VARIABLE} is {stated!r}, expected seconds") from None


def _reason(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.exceptions")
    except ModuleNotFoundError as error:
        raise UserError(
            f"--executor ray needs Ray ({error.name} is missing): pip install 'sae-research[ray]'; --shard i/n needs "
            "nothing but several processes"
        ) from None
    return ray


def _require_token() -> None:
    """UserError where this process would talk to a cluster that runs anybody's code, or has nothing to show."""
    # Ray reads it when it is imported.
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode != "token":
        raise UserError(
            f"RAY_AUTH_MODE is {mode!r}: a cluster without tokens runs what anybody sends it; "
            "unset it here, and start all nodes with RAY_AUTH_MODE=token"
        )
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not token.is_file():
        raise UserError(
            f"no Ray token: set RAY_AUTH_TOKEN, or write it to {token} (`ray get-auth-token --generate`), the same on "
            "all nodes"
        )


def _connect(ray: Any, address: str) -> None:
    paths = [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }
    try:
        ray.init(
            address=address, namespace=f"sae-research-{os.getpid()}", log_to_driver=False,
            logging_level=logging.ERROR, runtime_env={"env_vars": variables},
        )  # fmt: skip
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"no Ray cluster at {address} that lets this process in: {_reason(error)}") from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets handlers of its own, with which an interruption would leave no message."""
    is_main = threading.current_thread() is threading.main_thread()
    kinds = [signal.SIGINT, signal.SIGTERM] if is_main and sys.platform != "win32" else []
    before = {kind: signal.getsignal(kind) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
