"""The tasks of the package sae-probes (Kantamneni et al. 2025, https://arxiv.org/abs/2502.16681) and texts from them.

The package fills its classes up by repeating texts (up to 70 % of the rows of a task), so that a random split
trains probes on texts that they are tested on. Here each text comes once, texts under two labels are left out, and a
third of all texts is held out by the beginnings of the texts: the same third in every task and in the running text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from sae_research.data.draw import is_held_out
from sae_research.data.family import ONE_GROUP, Family, Pool
from sae_research.data.tables import read_texts
from sae_research.errors import UserError
from sae_research.sources.hub import Hub, RemoteFiles

REPOSITORY = "package:sae-probes/sae_probes/data/cleaned_data"
_PREFIX = "sae-probes/"
RUNNING_TEXT = f"{_PREFIX}texts"
_BINARY = """
5_hist_fig_ismale 6_hist_fig_isamerican 7_hist_fig_ispolitician 21_headline_istrump 22_headline_isobama
23_headline_ischina 24_headline_isiran 26_headline_isfrontpage 36_sciq_tf 41_truthqa_tf 42_temp_sense 44_phys_tf
47_reasoning_tf 48_cm_correct 49_cm_isshort 50_deon_isvalid 51_just_is 52_virtue_is 54_cs_tf 56_wikidatasex_or_gender
57_wikidatais_alive 58_wikidatapolitical_party 59_wikidata_occupation_isjournalist 60_wikidata_occupation_isathlete
61_wikidata_occupation_isactor 62_wikidata_occupation_ispolitician 63_wikidata_occupation_issinger
64_wikidata_occupation_isresearcher 65_high-school 66_living-room 67_social-security 68_credit-card 69_blood-pressure
70_prime-factors 71_social-media 72_gene-expression 73_control-group 74_magnetic-field 75_cell-lines 76_trial-court
77_second-derivative 78_north-america 79_human-rights 80_side-effects 81_public-health 82_federal-government
83_third-party 84_clinical-trials 85_mental-health 87_glue_cola 89_glue_mrpc 90_glue_qnli 91_glue_qqp 92_glue_sst2
94_ai_gen 95_toxic_is 96_spam_is 100_news_fake 105_click_bait 106_hate_hate 107_hate_offensive 110_aimade_humangpt3
113_movie_sent 114_nyc_borough_Manhattan 115_nyc_borough_Brooklyn 116_nyc_borough_Bronx 117_us_state_FL 118_us_state_CA
119_us_state_TX 120_us_timezone_Chicago 121_us_timezone_New_York 122_us_timezone_Los_Angeles
123_world_country_United_Kingdom 124_world_country_United_States 125_world_country_Italy 126_art_type_book
127_art_type_song 128_art_type_movie 129_arith_mc_A 130_temp_cat_Frequency 131_temp_cat_Typical_Time
132_temp_cat_Event_Ordering 133_context_type_Causality 134_context_type_Belief_states 135_context_type_Event_duration
136_glue_mnli_entailment 137_glue_mnli_neutral 138_glue_mnli_contradiction 139_news_class_Politics
140_news_class_Technology 141_news_class_Entertainment 142_cancer_cat_Thyroid_Cancer 143_cancer_cat_Lung_Cancer
144_cancer_cat_Colon_Cancer 145_disease_class_digestive_system_diseases 146_disease_class_cardiovascular_diseases
147_disease_class_nervous_system_diseases 148_twt_emotion_worry 149_twt_emotion_happiness 150_twt_emotion_sadness
151_it_tick_HR_Support 152_it_tick_Hardware 153_it_tick_Administrative_rights 154_athlete_sport_football
155_athlete_sport_basketball 156_athlete_sport_baseball 157_amazon_5star 158_code_C 159_code_Python 160_code_HTML
161_agnews_0 162_agnews_1 163_agnews_2
"""
_MULTICLASS = """
10_nyc_borough 13_us_state 14_us_timezone 17_world_country 27_art_type 37_arith_mc 38_arith_difficulty 43_temp_cat
45_context_ans 46_context_type 55_open_qa 86_social_iqa 88_glue_mnli 97_news_class 98_cancer_cat 99_sci_cat
101_disease_class 102_twt_emotion 103_it_tick 108_athlete_sport
"""
_NUMBERS = {_PREFIX + task.partition("_")[2]: int(task.partition("_")[0]) for task in (_BINARY + _MULTICLASS).split()}
"""The number that the file of each task begins with; the package's own names have it, and spaces for some of the _."""
_SOURCES = {
    "hist_fig": "people", "headline": "headlines", "wikidata": "biographies", "cm": "morals", "arith": "arithmetic",
    "hate": "hate", "us": "places", "world": "places", "nyc": "new_york", "art": "art", "temp_cat": "time",
    "context_type": "questions", "glue_mnli": "mnli", "news_class": "news", "agnews": "news", "code": "news",
    "cancer_cat": "cancer", "disease_class": "disease", "twt_emotion": "tweets", "it_tick": "tickets",
    "athlete": "athletes",
}  # fmt: skip
"""The source whose texts a task labels, by the beginning of its name, where several tasks label the same: at least one
text in fifty of the smaller task."""
_RUNNING_FROM = (100, 101, 157, 48)
"""Tasks with long texts in natural English: news, abstracts of medical papers, reviews, accounts of moral conflicts."""
_SHORTEST, _CUT = 400, 8192
"""Characters of a document; the package cuts texts at the second."""


class SaeProbes(Family):
    """113 binary tasks and 20 with more classes; the classes are called what the labels are."""

    names = tuple(_NUMBERS)
    running_texts = (RUNNING_TEXT,)

    @classmethod
    def repository(cls, name: str) -> str:
        return REPOSITORY

    @classmethod
    def texts(cls, name: str) -> str:
        task = name.removeprefix(_PREFIX)
        return next((_PREFIX + source for start, source in _SOURCES.items() if task.startswith(start)), name)

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        labels: dict[str, set[str]] = {}
        files = _task_file(hub, _NUMBERS[name])
        for text, label in read_texts(files, "prompt", "target"):
            labels.setdefault(text, set()).add(label)
        codes = {label: label for label in sorted(set().union(*labels.values()))}
        train: dict[str, dict[str, list[str]]] = {label: {ONE_GROUP: []} for label in codes}
        test: dict[str, dict[str, list[str]]] = {label: {ONE_GROUP: []} for label in codes}
        for text, of_text in labels.items():
            if len(of_text) == 1:
                (test if is_held_out(text) else train)[next(iter(of_text))][ONE_GROUP].append(text)
        return Pool(files.revision, train, test, codes)

    @classmethod
    def documents(cls, hub: Hub, name: str, split: str) -> Iterator[str]:
        """Whole documents in random order, of `train` those that no task holds out."""
        if split not in ("train", "test"):
            raise UserError(f"data set {name!r} has no {split!r} split; valid: train, test")
        texts = {text for task in _RUNNING_FROM for (text,) in read_texts(_task_file(hub, task), "prompt")}
        chosen = [t for t in texts if _SHORTEST <= len(t) < _CUT and is_held_out(t) == (split == "test")]
        return iter(sorted(chosen, key=lambda text: hashlib.sha256(text.encode()).digest()))


def _task_file(hub: Hub, number: int) -> RemoteFiles:
    is_it = re.compile(rf"{number}_.*\.csv\.zst").fullmatch
    files = hub.dataset_files(REPOSITORY, lambda name: is_it(name) is not None)
    if len(files.names) != 1:
        raise UserError(
            f"{REPOSITORY} has {len(files.names)} files of task {number}, expected 1; install the version that "
            "requirements-real.lock names"
        )
    return files
