"""Labelled sets: names, layouts, balance, keyed sampling, and what is said when a class is too small."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sae_research.data.families.github_code import language_of
from sae_research.data.labelled import LabelledSet, labelled_revision, load_labelled, require_name, valid_names
from sae_research.errors import UserError

TRAIN, TEST = "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"
Crossed = Callable[..., dict[str, list[Any]]]


def renamed(columns: dict[str, list[Any]], text: str, first: str, second: str) -> dict[str, list[Any]]:
    return {text: columns["text"], first: columns["first"], second: columns["second"]}


def named(*names: str) -> dict[str, str]:
    """Classes as `dataset_info.json` has them, numbered from 0."""
    return {str(code): name for code, name in enumerate(names)}


def parts(texts: list[str], place: int) -> Counter[str]:
    """How often each value comes at `place` of the texts, which read a/b/number."""
    return Counter(text.split("/")[place] for text in texts)


@pytest.fixture
def bios(shelf: Any, crossed: Crossed) -> Callable[..., LabelledSet]:
    """`bios(name, ...)` loads from a world and a hub with 30 texts a profession and gender (10 in test)."""

    def tables(professions: range) -> dict[str, Any]:
        train, test = crossed(professions, [0, 1], 30), crossed(professions, [0, 1], 10, "test ")
        return {name: renamed(t, "hard_text", "profession", "gender") for name, t in ((TRAIN, train), (TEST, test))}

    shelf.put("LabHC/bias_in_bios", tables(range(28)))
    classes = {"profession": named("chef", "nurse", "pilot"), "gender": named("man", "woman")}
    shelf.put("embedded/bios", tables(range(3)), classes)

    def load(name: str, *, train: int = 20, test: int = 6, seed: int = 0) -> LabelledSet:
        return load_labelled(shelf.hub, name, train_per_class=train, test_per_class=test, seed=seed)

    return load


def test_bios_take_the_class_sets_professions_balanced_by_gender(bios: Callable[..., LabelledSet]) -> None:
    labelled = bios("LabHC/bias_in_bios_class_set1")
    assert (
        list(labelled.train) == list(labelled.test) == ["accountant", "architect", "attorney", "dentist", "filmmaker"]
    )
    for name, code in labelled.codes.items():
        assert parts(labelled.train[name], 0) == {code: 20}
        assert parts(labelled.train[name], 1) == {"0": 10, "1": 10}
        assert parts(labelled.test[name], 0) == {f"test {code}": 6}
        assert parts(labelled.test[name], 1) == {"0": 3, "1": 3}


def test_the_worlds_bios_by_profession_and_by_gender(bios: Callable[..., LabelledSet]) -> None:
    assert {name: parts(texts, 0) for name, texts in bios("embedded/bios").train.items()} == {
        "chef": {"0": 20}, "nurse": {"1": 20}, "pilot": {"2": 20}
    }  # fmt: skip
    gender = bios("embedded/bios_gender", train=21)
    assert list(gender.train) == ["man", "woman"]
    for name, code in (("man", "0"), ("woman", "1")):
        assert parts(gender.train[name], 1) == {code: 21}
        assert parts(gender.train[name], 0) == {"0": 7, "1": 7, "2": 7}


def test_a_draw_depends_on_its_own_key_alone(bios: Callable[..., LabelledSet]) -> None:
    one, again, other = bios("embedded/bios"), bios("embedded/bios"), bios("embedded/bios", seed=1)
    assert one == again
    assert one.train != other.train
    assert bios("embedded/bios", test=4).train == one.train
    fewer = bios("embedded/bios", train=10)
    assert all(set(fewer.train[name]) < set(one.train[name]) for name in one.train)


def test_a_class_does_not_depend_on_the_other_classes(shelf: Any, crossed: Crossed) -> None:
    def news(topics: list[str]) -> LabelledSet:
        table = crossed(range(len(topics)), ["-"], 9)
        columns = {"text": table["text"], "label": table["first"]}
        shelf.put("embedded/news", {TRAIN: columns, TEST: columns}, {"label": named(*topics)})
        return load_labelled(shelf.hub, "embedded/news", train_per_class=4, test_per_class=4, seed=0)

    small, large = news(["law", "sea"]), news(["law", "sea", "war"])
    assert small.train == {name: large.train[name] for name in small.train}


def test_reviews_by_category_and_by_rating(shelf: Any, crossed: Crossed) -> None:
    table = renamed(crossed(range(8), [1.0, 5.0], 10), "text", "category", "rating")
    shelf.put("canrager/amazon_reviews_mcauley_1and5", {TRAIN: table, TEST: table})
    shelf.put("embedded/reviews", {TRAIN: table, TEST: table}, {"category": named(*"abcdefgh")})
    for root in ("canrager/amazon_reviews_mcauley_1and5", "embedded/reviews"):
        category = load_labelled(shelf.hub, root, train_per_class=8, test_per_class=4, seed=0)
        for name, texts in category.train.items():
            assert parts(texts, 0) == {category.codes[name]: 8}
            assert parts(texts, 1) == {"1.0": 4, "5.0": 4}
        rating = load_labelled(shelf.hub, f"{root}_sentiment", train_per_class=40, test_per_class=4, seed=0)
        assert rating.codes == {"1 star": "1.0", "5 stars": "5.0"}
        assert parts(rating.train["1 star"], 1) == {"1.0": 40}
        assert len(parts(rating.train["1 star"], 0)) == 8
    assert len(category.train) == 8


def test_news_and_languages(shelf: Any, crossed: Crossed) -> None:
    table = crossed(range(4), ["-"], 10)
    columns = {"text": table["text"], "label": table["first"]}
    shelf.put("fancyzhx/ag_news", {TRAIN: columns, TEST: columns})
    shelf.put("embedded/languages", {TRAIN: columns, TEST: columns}, {"label": named("ka", "mo")})
    news = load_labelled(shelf.hub, "fancyzhx/ag_news", train_per_class=5, test_per_class=5, seed=0)
    assert [parts(texts, 0) for texts in news.train.values()] == [{str(i): 5} for i in range(4)]
    languages = load_labelled(shelf.hub, "embedded/languages", train_per_class=5, test_per_class=5, seed=0)
    assert {name: parts(texts, 0) for name, texts in languages.test.items()} == {"ka": {"0": 5}, "mo": {"1": 5}}


def test_europarl_takes_each_language_from_its_pair_and_keeps_train_and_test_apart(shelf: Any) -> None:
    pairs = {"en-fr": "en", "fr-it": "fr", "de-en": "de", "es-fr": "es", "nl-pt": "nl", "bg-cs": ""}
    files = {}
    for pair in pairs:
        left, right = pair.split("-")
        rows = [{left: f"{left} of {pair}/{i}", right: f"{right} of {pair}/{i}"} for i in range(40)]
        files[f"{pair}/train-00000-of-00001.parquet"] = {"translation": rows}
    shelf.put("Helsinki-NLP/europarl", files)
    labelled = load_labelled(shelf.hub, "Helsinki-NLP/europarl", train_per_class=10, test_per_class=5, seed=0)
    assert list(labelled.train) == ["en", "fr", "de", "es", "nl"]
    for pair, language in list(pairs.items())[:5]:
        train, test = labelled.train[language], labelled.test[language]
        assert parts(train + test, 0) == {f"{language} of {pair}": 15}
        assert not set(train) & set(test)
        assert max(int(text.split("/")[1]) for text in train + test) <= 15, "only the first 16 sentences are read"


@pytest.mark.parametrize("converted", [False, True])
def test_github_code_cuts_the_header_and_leaves_short_files_out(shelf: Any, converted: bool) -> None:
    endings = {"C": "c", "Python": "py", "HTML": "html", "Java": "java", "PHP": "php", "Go": "go"}
    rows = []
    for i in range(30):
        for language, ending in endings.items():
            head = f"{language}/{i}/"
            length = 534 if i % 2 else 535
            rows.append(("(c)".ljust(150) + head.ljust(length - 150, "x"), f"src/{i}.{ending}", language))
    columns = {"content": [r[0] for r in rows], "path": [r[1] for r in rows], "license": ["mit"] * len(rows)}
    if converted:
        columns = {"code": columns["content"], "language": [r[2] for r in rows], "path": ["?"] * len(rows)}
    shelf.put("codeparrot/github-code", {"data/train-00000-of-01126.parquet": columns})
    labelled = load_labelled(shelf.hub, "codeparrot/github-code", train_per_class=8, test_per_class=4, seed=0)
    assert list(labelled.train) == ["C", "Python", "HTML", "Java", "PHP"]
    for language, texts in labelled.train.items():
        both = texts + labelled.test[language]
        assert parts(both, 0) == {language: 12}
        assert {len(text) for text in both} == {385}
        assert all(int(text.split("/")[1]) % 2 == 0 for text in both)


def test_github_code_opens_no_more_files_than_needed(shelf: Any) -> None:
    endings = ["c", "py", "html", "java", "php"]
    columns = {"content": ["x" * 600] * 50, "path": [f"{i}.{endings[i % 5]}" for i in range(50)]}
    shelf.put("codeparrot/github-code", {"data/train-00000-of-00002.parquet": columns})
    (shelf.folder("codeparrot/github-code") / "data/train-00001-of-00002.parquet").write_bytes(b"not read")
    labelled = load_labelled(shelf.hub, "codeparrot/github-code", train_per_class=5, test_per_class=4, seed=0)
    assert len(labelled.train["PHP"]) == 5


def test_languages_by_ending() -> None:
    paths = ["a/b.c", "x.h", "x.py", "x.html", "Main.java", "a.php5", "x.hh", "x.cpp", "Makefile", "x.pyc"]
    assert [language_of(path) for path in paths] == [
        "C", "C", "Python", "HTML", "Java", "PHP", None, None, None, None
    ]  # fmt: skip


def test_the_worlds_code_is_not_cut(shelf: Any, crossed: Crossed) -> None:
    table = crossed(["lua", "c"], ["-"], 6)
    columns = {"code": table["text"], "language": table["first"]}
    shelf.put("embedded/code", {TRAIN: columns, TEST: columns}, {"language": {"lua": "lua", "c": "c"}})
    labelled = load_labelled(shelf.hub, "embedded/code", train_per_class=6, test_per_class=2, seed=0)
    assert sorted(labelled.train["lua"]) == sorted(f"lua/-/{i}" for i in range(6))


def test_class_too_small_says_which_how_many_and_what_to_do(bios: Callable[..., LabelledSet]) -> None:
    with pytest.raises(UserError, match=r"'embedded/bios', train split: class 'chef' \(those with '0'\) has 30 .*41"):
        bios("embedded/bios", train=82)
    with pytest.raises(UserError, match=r"test split: class 'accountant' .* has 10 texts, needed 11; lower"):
        bios("LabHC/bias_in_bios_class_set1", test=22)


def test_group_that_a_class_lacks_wholly_is_missed(shelf: Any) -> None:
    table = {"hard_text": ["a", "b", "c"], "profession": [0, 0, 1], "gender": [0, 1, 0]}
    shelf.put("embedded/bios", {TRAIN: table, TEST: table}, {"profession": named("chef", "nurse")})
    with pytest.raises(UserError, match=r"class 'nurse' \(those with '1'\) has 0 texts, needed 1"):
        load_labelled(shelf.hub, "embedded/bios", train_per_class=2, test_per_class=2, seed=0)


def test_empty_data_set(shelf: Any) -> None:
    shelf.put("fancyzhx/ag_news", {TRAIN: {"text": [], "label": []}, TEST: {"text": [], "label": []}})
    with pytest.raises(UserError, match=r"'fancyzhx/ag_news': no text of any of its classes \(World.*train split"):
        load_labelled(shelf.hub, "fancyzhx/ag_news", train_per_class=5, test_per_class=5, seed=0)


def test_unknown_name_lists_the_valid_ones(shelf: Any) -> None:
    with pytest.raises(
        UserError,
        match=r"'embedded/bio' is not known; near to it: embedded/bios.*; valid: .*fancyzhx/ag_news.*data_sets",
    ):
        load_labelled(shelf.hub, "embedded/bio", train_per_class=1, test_per_class=1, seed=0)
    require_name("embedded/bios")


def test_classes_come_in_the_order_of_their_labels(shelf: Any, crossed: Crossed) -> None:
    table = crossed(range(12), ["-"], 2)
    columns = {"text": table["text"], "label": table["first"]}
    classes = {"label": dict(sorted(named(*"lkjihgfedcba").items()))}
    assert list(classes["label"])[:3] == ["0", "1", "10"]
    shelf.put("embedded/news", {TRAIN: columns, TEST: columns}, classes)
    labelled = load_labelled(shelf.hub, "embedded/news", train_per_class=2, test_per_class=2, seed=0)
    assert list(labelled.train) == list("lkjihgfedcba")
    assert parts(labelled.train["b"], 0) == {"10": 2}


def test_missing_class_names(shelf: Any, crossed: Crossed) -> None:
    table = renamed(crossed([0, 1], [0, 1], 3), "hard_text", "profession", "gender")
    shelf.put("embedded/bios", {TRAIN: table, TEST: table})
    with pytest.raises(UserError, match=r"no classes .* in its dataset_info\.json; it has: none"):
        load_labelled(shelf.hub, "embedded/bios", train_per_class=2, test_per_class=2, seed=0)
    shelf.put("embedded/bios", {}, {"gender": named("man", "woman")})
    with pytest.raises(UserError, match=r"no classes for column 'profession' .*; it has: gender"):
        load_labelled(shelf.hub, "embedded/bios", train_per_class=2, test_per_class=2, seed=0)


def test_revision_is_the_repositorys(bios: Callable[..., LabelledSet], shelf: Any) -> None:
    labelled = bios("embedded/bios")
    assert (
        labelled.revision
        == labelled_revision(shelf.hub, "embedded/bios")
        == shelf.hub.dataset("embedded/bios").revision
    )
    assert labelled_revision(shelf.hub, "embedded/bios_gender") == labelled.revision


def test_classes_are_those_of_sae_bench() -> None:
    import sae_bench.sae_bench_utils.dataset_info as theirs

    from sae_research.data.families import ag_news, amazon_reviews, bias_in_bios, europarl, github_code

    ours = {f"LabHC/bias_in_bios_{name}": list(codes.values()) for name, codes in bias_in_bios._SETS.items()}
    ours["canrager/amazon_reviews_mcauley_1and5"] = list(amazon_reviews._CATEGORIES.values())
    ours["canrager/amazon_reviews_mcauley_1and5_sentiment"] = list(amazon_reviews._RATINGS.values())
    ours["codeparrot/github-code"] = list(github_code._ENDINGS)
    ours["fancyzhx/ag_news"] = list(ag_news._TOPICS.values())
    ours["Helsinki-NLP/europarl"] = list(europarl._PAIRS)
    assert ours == theirs.chosen_classes_per_dataset
    assert set(ours) < set(valid_names())
    for codes in bias_in_bios._SETS.values():
        assert {name: int(code) for name, code in codes.items()}.items() <= theirs.profession_dict.items()
    categories = {name: int(code) for name, code in amazon_reviews._CATEGORIES.items()}
    assert categories.items() <= theirs.amazon_category_dict.items()


def test_names_are_known_without_torch() -> None:
    script = "import sys, sae_research.data.labelled as l; l.valid_names(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
