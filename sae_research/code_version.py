"""The version of the code behind a number: a digest of the modules that it can reach, blind to comments.

It stands on the ground floor because the embedded world, which knows nothing of the pipeline, has a key too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from sae_research.digests import digest_of
from sae_research.plugins import plugin_root

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE.parent
# What these do never reaches a number: what is refused and in which words, bars on a terminal, how bytes reach the
# disk, where they come from (their digests are in the key), how much is done at once.
WITHOUT_INFLUENCE = frozenset(
    f"sae_research.{name}"
    for name in (
        "device_memory",
        "digests",
        "errors",
        "evals.model_results",
        "files",
        "foreign",
        "judges.ledger",
        "judges.settings",
        "judges.store",
        "lm.cache",
        "plugins",
        "progress",
        "records",
        "saes.about",
        "sources.blobs",
        "sources.described",
        "sources.model_names",
        "sources.hub",
        "sources.huggingface",
        "sources.listings",
        "sources.memory",
        "tensor_files",
    )
)
# A constant of an architecture's file that says how plots name and draw it.
_LOOKS = "ABOUT"


def code_version(*modules: str, alone: Sequence[str] = ()) -> str:
    """The digest of `modules` and of all modules of the package that they import, directly or not.

    Those in `alone` count without what they import. It covers a C++ source beside a module, and the modules of
    SAE_PLUGINS. Comments, layout and docstrings change nothing.
    """
    reached = frozenset().union(*(import_closure(module, WITHOUT_INFLUENCE) for module in modules))
    return digest_of({module: code_of(_file(module)) for module in sorted(reached.union(alone))})


@cache
def import_closure(module: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules of the project that `module` reaches by imports anywhere in their files, itself included.

    Those in `without` are left out, and so is what is reached through them alone.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in without:
            seen.add(name)
            waiting.extend(_imports(name))
    return frozenset(seen)


def _file(module: str) -> Path:
    """The file of a module of the package, of `scripts`, or of the folder of plug-ins."""
    package, *inside = module.split(".")
    candidates = [_ROOT.joinpath(package, *inside)]
    plugins = plugin_root()
    if plugins is not None and package == _PACKAGE.name:
        candidates.append(plugins.joinpath(*inside))
    files = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in candidates]
    return next((file for file in files if file.is_file()), files[0])


@cache
def _imports(module: str) -> frozenset[str]:
    """The modules of the project that the file of `module` imports, wherever in it."""
    file = _file(module)
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    names: set[str] = set()
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join(above + ([node.module] if node.module else []))
            names |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name for name in names if name.split(".")[0] in {_PACKAGE.name, "scripts"}}
    return frozenset(name for name in ours if _file(name).is_file())


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of `tree` but for what stands under `if TYPE_CHECKING:`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _executed(child)


@cache
def code_of(path: Path) -> str:
    """The syntax tree of a module as text, without prose and looks, and the C++ source beside it that it compiles."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _is_about_looks(node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    kernel = path.with_suffix(".cpp")
    return ast.dump(tree) + (kernel.read_text(encoding="utf-8") if kernel.is_file() else "")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_about_looks(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [_LOOKS]
