from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sae_research import code_version as module
from sae_research.code_version import code_version, import_closure


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `sae_research` of three modules: a imports b inside a function, c stands alone."""
    root = tmp_path / "sae_research"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "a.py").write_text("def f():\n    from sae_research.b import g\n    return g()\n")
    (root / "b.py").write_text('"""Doc."""\n\ndef g():\n    return 1\n')
    (root / "c.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "_PACKAGE", root)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    _forget()
    yield root
    _forget()


def _forget() -> None:
    for cached in (module.import_closure, module._tree, module.code_of):
        cached.cache_clear()


def test_imports_inside_functions_count(package: Path) -> None:
    assert import_closure("sae_research.a") == {"sae_research.a", "sae_research.b"}


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("b.py", '"""Other words."""\n\n# a comment\ndef g():\n    """Says more."""\n    return 1\n', False),
        ("b.py", '"""Doc."""\n\ndef g():\n    return 2\n', True),
        ("c.py", "x = 2\n", False),
    ],
)
def test_only_reachable_code_counts_and_prose_never(package: Path, file: str, text: str, changes: bool) -> None:
    before = code_version("sae_research.a")
    (package / file).write_text(text)
    _forget()
    assert (code_version("sae_research.a") != before) is changes
