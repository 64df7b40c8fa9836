"""The version of the code behind a number: a digest over the modules it can reach, blind to comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sae_research.digests import digest_of
from sae_research.plugins import plugin_root

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE.parent
# What these do never reaches a number: the wording of errors, bars on a terminal, how bytes reach the disk, where they
# come from (their digests are in the key).
WITHOUT_INFLUENCE = frozenset(
    f"sae_research.{name}"
    for name in (
        "digests",
        "errors",
        "files",
        "lm.cache",
        "plugins",
        "progress",
        "records",
        "sources.hub",
        "sources.huggingface",
        "sources.memory",
    )
)


def code_version(*modules: str) -> str:
    """The digest of `modules` and all of the package that they import, directly or not.

    Taken over syntax trees without docstrings: comments, layout and prose change nothing.
    """
    closures = [import_closure(module, WITHOUT_INFLUENCE) for module in modules]
    reached = sorted(frozenset().union(*closures))
    return digest_of({name: code_of(_file(name)) for name in reached})


@cache
def import_closure(module: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules of the project that `module` reaches by imports anywhere in their files, itself included.

    Those in `without` are left out, and so is what is reached through them alone.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in without:
            continue
        seen.add(name)
        waiting.extend(_imports(name))
    return frozenset(seen)


def _file(module: str) -> Path:
    """The file of a module of the package, of `scripts`, or of the folder of plug-ins."""
    candidates = [_in(_ROOT, module.split("."))]
    plugins = plugin_root()
    if plugins is not None and module.startswith(f"{_PACKAGE.name}."):
        candidates.append(_in(plugins, module.split(".")[1:]))
    return next((file for file in candidates if file.is_file()), candidates[0])


def _in(root: Path, parts: list[str]) -> Path:
    path = root.joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return module.split(".")[0] in {_PACKAGE.name, "scripts"} and _file(module).is_file()


def _imports(module: str) -> Iterator[str]:
    for node in _executed(_tree(_file(module))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if _exists(name))


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of `tree` but for what stands under `if TYPE_CHECKING:`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _executed(child)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def code_of(path: Path) -> str:
    """The syntax tree of a module as text, without docstrings, and the C++ source beside it that it compiles."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    kernel = path.with_suffix(".cpp")
    return ast.dump(tree) + (kernel.read_text(encoding="utf-8") if kernel.is_file() else "")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
