"""Token rows are those of SAELens; texts are read file by file."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sae_research.data.tables import split_files
from sae_research.data.text import load_texts, token_rows
from sae_research.errors import UserError
from sae_research.sources.hub import Hub

WORDS = ["cat", "dog", "sat", "mat", "on", "the", "a", "ran", "far", "away", "1", "22", "!"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator([" ".join(WORDS)] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=16
    )


def random_texts(n: int, seed: int) -> list[str]:
    """Texts of 0 to 60 words; some begin with the bos token itself, some are empty."""
    rng = random.Random(seed)
    starts = ["", "", "", "<bos>"]
    return [rng.choice(starts) + " ".join(rng.choices(WORDS, k=rng.choice([0, 1, 3, 9, 60]))) for _ in range(n)]


def rows_of_sae_lens(
    texts: list[str], tokenizer: PreTrainedTokenizerFast, context_size: int, *, prepend_bos: bool
) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that sae_lens itself imports
        from sae_lens.tokenization_and_batching import concat_and_batch_sequences

    documents = (torch.tensor(tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"]).long() for t in texts)
    bos = tokenizer.bos_token_id
    rows = concat_and_batch_sequences(
        documents,
        context_size,
        begin_batch_token_id=bos if prepend_bos else None,  # type: ignore[arg-type]
        begin_sequence_token_id=None,
        sequence_separator_token_id=bos,  # type: ignore[arg-type]
    )
    return torch.stack(list(rows))


@pytest.mark.parametrize("prepend_bos", [True, False])
@pytest.mark.parametrize("context_size", [2, 3, 7, 16, 128])
def test_rows_are_those_of_sae_lens(tokenizer: PreTrainedTokenizerFast, context_size: int, prepend_bos: bool) -> None:
    texts = random_texts(400, seed=context_size)
    theirs = rows_of_sae_lens(texts, tokenizer, context_size, prepend_bos=prepend_bos)
    ours = token_rows(texts, tokenizer, context_size=context_size, prepend_bos=prepend_bos)
    assert torch.equal(ours, theirs)
    assert torch.equal(
        token_rows(texts, tokenizer, context_size=context_size, n_rows=5, prepend_bos=prepend_bos), theirs[:5]
    )


def test_rows_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    bos = tokenizer.bos_token_id
    a, b = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("!", "1"))
    rows = token_rows(["!!!", "11", "", "!", "1111"], tokenizer, context_size=4)
    assert rows.tolist() == [[bos, a, a, a], [bos, b, b, bos], [bos, a, bos, b], [bos, b, b, b]]


def test_no_more_texts_are_read_than_needed(tokenizer: PreTrainedTokenizerFast) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in random_texts(5000, seed=0):
            read += 1
            yield text

    token_rows(texts(), tokenizer, context_size=16, n_rows=3)
    assert read <= 256


def test_too_few_texts_and_none_at_all(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="1 rows of 8 tokens, needed 5"):
        token_rows(["!!!!!!!!"], tokenizer, context_size=8, n_rows=5)
    with pytest.raises(UserError, match="0 rows of 8 tokens, needed 1"):
        token_rows([], tokenizer, context_size=8)
    with pytest.raises(UserError, match="context_size is 1"):
        token_rows(["!"], tokenizer, context_size=1)
    with pytest.raises(UserError, match="at least 1"):
        token_rows(["!"], tokenizer, context_size=8, n_rows=0)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Hub]:
    """`write(name=rows, ...)` is a hub whose world has the data set `embedded/text` of those files."""

    def build(files: dict[str, list[str | None]]) -> Hub:
        for name, texts in files.items():
            path = tmp_path / "datasets" / "text" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"text": pa.array(texts, type=pa.string())}), path)
        return Hub(tmp_path)

    return build


def test_texts_come_in_the_order_of_the_files(write: Callable[..., Hub]) -> None:
    hub = write(
        {
            "data/train-00001-of-00002.parquet": ["c"],
            "data/train-00000-of-00002.parquet": ["a", None, "b"],
            "data/test-00000-of-00001.parquet": ["z"],
        }
    )
    assert list(load_texts(hub, "embedded/text")) == ["a", "b", "c"]
    assert list(load_texts(hub, "embedded/text", "test")) == ["z"]


@pytest.mark.parametrize(
    "name",
    [
        "train.parquet",
        "data/train-00000-of-00001-0123456789abcdef.parquet",
        "plain_text/train-00000-of-00080.parquet",
        "default/train/0000.parquet",
        "plain_text/partial-train/0000.parquet",
    ],
)
def test_layouts_of_the_hub(write: Callable[..., Hub], name: str) -> None:
    hub = write({name: ["a"], "data/test-00000-of-00001.parquet": ["z"], "data/trainer.parquet": ["no"]})
    assert list(load_texts(hub, "embedded/text")) == ["a"]


def test_second_file_is_not_opened_before_it_is_reached(write: Callable[..., Hub], tmp_path: Path) -> None:
    hub = write({"data/train-0-of-2.parquet": ["a", "b"]})
    (tmp_path / "datasets/text/data/train-1-of-2.parquet").write_bytes(b"not parquet")
    texts = load_texts(hub, "embedded/text")
    assert [next(texts), next(texts)] == ["a", "b"]
    with pytest.raises(UserError, match=r"train-1-of-2\.parquet: not a complete parquet file"):
        next(texts)


def test_missing_split_column_and_configuration(write: Callable[..., Hub]) -> None:
    hub = write({"data/train-0.parquet": ["a"]})
    with pytest.raises(UserError, match=r"no 'validation' split.*data/train-0\.parquet"):
        load_texts(hub, "embedded/text", "validation")
    with pytest.raises(UserError, match=r"no column 'body'.*text"):
        list(load_texts(hub, "embedded/text", column="body"))


def test_configurations_are_named_or_the_usual_one(write: Callable[..., Hub]) -> None:
    hub = write({"de/train-0.parquet": ["a"], "en/train-0.parquet": ["b"]})
    with pytest.raises(UserError, match=r"configuration None.*de, en"):
        load_texts(hub, "embedded/text")
    assert split_files(hub, "embedded/text", "train", config="en").names == ("en/train-0.parquet",)
    with pytest.raises(UserError, match=r"configuration 'fr'.*de, en"):
        split_files(hub, "embedded/text", "train", config="fr")
    hub = write({"data/train-0.parquet": ["c"]})
    assert list(load_texts(hub, "embedded/text")) == ["c"]


def test_folder_without_parquet(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "text").mkdir(parents=True)
    with pytest.raises(UserError, match="has no parquet, JSON lines, CSV or text file"):
        load_texts(Hub(tmp_path), "embedded/text")
