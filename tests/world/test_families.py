from __future__ import annotations

import pytest

from sae_research.world.draw import Draw
from sae_research.world.families import bios, cities, code, facts, languages, news, reviews, spelling
from sae_research.world.families.bios_words import TRADES
from sae_research.world.grammar import LEAK, SHARES, Grammar
from sae_research.world.names import pseudo_words

SEED = 11


def _share_of_other_classes(texts: list[str], own: tuple[str, ...], others: tuple[str, ...]) -> float:
    """Of the words found in `texts` that belong to one class only, the share that is another class's."""
    inside = sum(text.count(word) for text in texts for word in own if word not in others)
    outside = sum(text.count(word) for text in texts for word in others if word not in own)
    return outside / (inside + outside)


def test_families_draw_independently_of_each_other() -> None:
    # The bios of a mixture are the same whatever the words that the spelling lines are about.
    grammar = Grammar(SEED)
    one, other = (list(grammar.documents("train", 300, words)) for words in (["tree"] * 12, [" horse"] * 12))
    spelled = [i for i, text in enumerate(one) if "first letter" in text]
    assert spelled
    assert [a for i, a in enumerate(one) if i not in spelled] == [b for i, b in enumerate(other) if i not in spelled]


def test_the_parts_of_the_mixture_share_no_document_but_by_chance() -> None:
    grammar = Grammar(SEED)
    train, test = (list(grammar.documents(part, 400, [f" {w}" for w in grammar.stories.tail])) for part in "ab")
    assert len({*train} & {*test}) <= 2
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_another_seed_is_a_world_with_other_names() -> None:
    one, other = Grammar(1), Grammar(2)
    assert not {city.name for city in one.cities.cities} & {city.name for city in other.cities.cities[:20]}


@pytest.mark.parametrize("profession", [0, 13, 26])
def test_a_bio_leaks_about_seven_percent(profession: int) -> None:
    family, draw = Grammar(SEED).bios, Draw(1)
    texts = [family.bio(draw, profession, 0) for _ in range(150)]
    own = TRADES[profession].topics + TRADES[profession].doings
    others = tuple(w for p, trade in TRADES.items() if p != profession for w in trade.topics + trade.doings)
    assert _share_of_other_classes(texts, own, others) == pytest.approx(LEAK, abs=0.05)


def test_a_review_leaks_about_seven_percent() -> None:
    family, draw = Grammar(SEED).reviews, Draw(1)
    texts = [family.review(draw, 5, 1.0) for _ in range(300)]
    praise, blame = family.judgements[5.0], family.judgements[1.0]
    assert _share_of_other_classes(texts, blame, praise) == pytest.approx(LEAK, abs=0.03)


def test_a_bio_never_names_its_profession() -> None:
    family, draw = Grammar(SEED).bios, Draw(1)
    for profession, name in bios.PROFESSIONS.items():
        texts = " ".join(family.bio(draw, profession, g) for g in bios.GENDERS for _ in range(20))
        assert name not in texts.lower()


def test_gendered_words_follow_the_gender_but_not_every_text_has_one() -> None:
    family, draw = Grammar(SEED).bios, Draw(1)
    male, female = ([family.bio(draw, 21, gender).split() for _ in range(200)] for gender in (0, 1))
    assert not any(word in ("she", "her", "Ms.", "mother") for text in male for word in text)
    assert not any(word in ("he", "his", "Mr.", "father") for text in female for word in text)
    assert 0.3 < sum("she" in text for text in female) / 200 < 0.95


def test_attributes_of_a_city_are_what_its_prompts_are_answered_with() -> None:
    family = Grammar(SEED).cities
    known = {city.name: city.facts for city in family.cities}
    assert len(known) == cities.N_CITIES
    for _ in range(50):
        for sentence in family.document(Draw(SEED)).removesuffix(".").split(". "):
            answer = sentence.split()[-1]
            [name] = [word for word in sentence.split() if word in known]
            assert answer in known[name].values()


def test_templates_name_the_city_inside_so_that_its_token_has_a_space() -> None:
    for templates in cities.TEMPLATES.values():
        assert all(" %s " in f"{template} " and not template.startswith("%s") for template in templates)


def test_questions_have_one_right_answer_among_four_different_choices() -> None:
    family = Grammar(SEED).facts
    for subject in facts.SUBJECTS:
        values = {e.name: set(e.facts.values()) for e in family.entities[subject]}
        for asked in family.questions(SEED, subject):
            [entity] = [name for name in values if name in asked.question]
            assert len(set(asked.choices)) == facts.N_CHOICES
            assert values[entity] & {asked.choices[asked.answer]}


def test_the_right_answer_stands_at_every_place() -> None:
    places = [q.answer for q in Grammar(SEED).facts.questions(SEED, facts.HAZARDOUS)]
    assert all(places.count(i) > len(places) / 8 for i in range(facts.N_CHOICES))


def test_a_spelling_prompt_ends_with_its_own_word_and_never_shows_it_before() -> None:
    family = spelling.Spelling([" apple", "tree", " zinc", "stone"])
    prompt = family.prompt(Draw(1), " zinc", 3)
    assert prompt.endswith("\n zinc has the first letter:")
    assert prompt.count("zinc") == 1
    assert "\ntree has the first letter: T" in prompt


@pytest.mark.parametrize(
    ("family", "labels", "write"),
    [
        ("news", tuple(news.TOPICS), "item"),
        ("languages", tuple(languages.LANGUAGES), "text"),
        ("code", code.LANGUAGES, "excerpt"),
    ],
)
def test_texts_differ_by_label(family: str, labels: tuple[object, ...], write: str) -> None:
    grammar = Grammar(SEED)
    words = [
        {w for _ in range(60) for w in getattr(getattr(grammar, family), write)(Draw(SEED, i), label).split()}
        for i, label in enumerate(labels)
    ]
    for i, own in enumerate(words):
        assert all(len(own - other) > 0.1 * len(own) for j, other in enumerate(words) if i != j)


def test_every_letter_begins_equally_many_pseudo_words() -> None:
    words = pseudo_words(Draw(1), 52)
    assert sorted(word[0] for word in words) == sorted("abcdefghijklmnopqrstuvwxyz" * 2)
    assert len(set(words)) == 52


def test_categories_and_ratings_are_those_of_the_original_data_set() -> None:
    assert reviews.CATEGORIES[6] == "Electronics"
    assert reviews.RATINGS == (1.0, 5.0)
