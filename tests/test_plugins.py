from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sae_research.errors import UserError
from sae_research.plugins import extended, only_class, only_value, plugin_folders, plugin_names, plugin_root


class Animal(ABC):
    @abstractmethod
    def sound(self) -> str: ...


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of plug-ins `zoo` with the modules `cat` and `dog`, and a plug-in folder with `saes/zoo/owl.py`."""
    inside, outside = tmp_path / "zoo", tmp_path / "plugins" / "saes" / "zoo"
    for folder, names in ((inside, ("__init__", "cat", "dog")), (outside, ("owl",))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.py").touch()
    monkeypatch.setenv("SAE_PLUGINS", str(tmp_path / "plugins"))
    package = ModuleType("zoo")
    package.__path__ = extended([str(inside)], "sae_research.saes.zoo")
    yield package
    for name in ("zoo", "zoo.cat"):
        sys.modules.pop(name, None)


def test_names_come_from_the_package_and_from_the_plugin_folder(zoo: ModuleType) -> None:
    assert plugin_names(zoo) == ("cat", "dog", "owl")
    folder = Path(zoo.__path__[1])
    for name in ("emu", "not_an_eval"):
        (folder / name).mkdir()
    (folder / "emu" / "eval.py").touch()
    assert plugin_folders(zoo, with_module="eval") == ("emu",)


def test_without_the_variable_the_package_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAE_PLUGINS", raising=False)
    assert plugin_root() is None
    assert extended(["/package/evals"], "sae_research.evals") == ["/package/evals"]


def test_a_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAE_PLUGINS", "/nowhere")
    with pytest.raises(UserError, match="SAE_PLUGINS is '/nowhere', and there is no such folder; correct it, or unset"):
        plugin_root()


def test_a_name_that_the_package_uses_is_refused(zoo: ModuleType) -> None:
    (Path(zoo.__path__[1]) / "cat.py").touch()
    with pytest.raises(UserError, match=r"plugins/saes/zoo/cat.py: the name 'cat' is taken by .*/zoo/cat.py; rename"):
        plugin_names(zoo)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("class Cat(Animal):\n    def sound(self): return 'miaow'\n", 1),
        ("class Feline(Animal): ...\n\nclass Cat(Feline):\n    def sound(self): return 'miaow'\n", 1),
        ("", 0),
        ("class A(Animal):\n    def sound(self): ...\nclass B(Animal):\n    def sound(self): ...\n", 2),
    ],
)
def test_a_module_defines_one_class_that_is_not_abstract(
    zoo: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, number: int
) -> None:
    sys.modules["zoo"] = zoo
    (Path(zoo.__path__[0]) / "cat.py").write_text(f"from plugins_test import Animal\n{text}")
    module = ModuleType("plugins_test")
    vars(module)["Animal"] = Animal
    monkeypatch.setitem(sys.modules, "plugins_test", module)
    if number == 1:
        assert only_class("zoo.cat", Animal).__name__ == "Cat"
    else:
        with pytest.raises(UserError, match=f"zoo.cat defines {number} of Animal, expected 1"):
            only_class("zoo.cat", Animal)


@pytest.mark.parametrize(("text", "number"), [("x = 1.5\ny = 'a'\n", 1), ("", 0), ("x = 1.5\ny = 2.5\n", 2)])
def test_a_module_holds_one_value_of_a_class(zoo: ModuleType, text: str, number: int) -> None:
    sys.modules["zoo"] = zoo
    (Path(zoo.__path__[0]) / "cat.py").write_text(text)
    if number == 1:
        assert only_value("zoo.cat", float) == 1.5
    else:
        with pytest.raises(UserError, match=f"zoo.cat defines {number} of float, expected 1"):
            only_value("zoo.cat", float)
