"""Runs a project's scripts as `python -m` does, in forks of one process that has imported the large libraries."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from support.project import Finished, environment

_LIBRARIES = (
    "torch", "transformers.models.auto", "transformers.models.gpt_neox.modeling_gpt_neox", "safetensors.torch",
    "sklearn.linear_model", "scipy.special", "pandas", "pyarrow.parquet", "ruamel.yaml", "huggingface_hub",
)  # fmt: skip


class StageServer:
    """The libraries are imported once; each script gets a fresh fork, in which nothing of the project is imported."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, root: Path, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """`python -m module arguments` in `root`."""
        out = root.with_name(f"{root.name}.out")
        request = {"root": str(root), "module": module, "arguments": arguments, "env": dict(env or {}), "out": str(out)}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Finished(code, out.read_text())


@contextmanager
def running_stage_server(env: Mapping[str, str] | None = None) -> Iterator[StageServer]:
    """A server until the block ends; `env` holds what the libraries read when they are imported."""
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "support.stage_server"], cwd=Path(__file__).parents[1], text=True,
        env=environment() | quiet | dict(env or {}), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        yield StageServer(process)
        assert process.stdin
        process.stdin.close()


def _serve(requests: IO[str]) -> None:
    # Nothing of the folder of the tests must be found before the project's.
    sys.path.pop(0)
    for name in _LIBRARIES:
        __import__(name)
    for line in requests:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(request: Mapping[str, Any]) -> None:
    """The fork: never returns."""
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(request["root"])
    os.environ.update(request["env"])
    sys.path.insert(0, request["root"])
    sys.argv = ["", *request["arguments"]]
    code: Any = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve(sys.stdin)
