"""The world's tokenizer: byte-level BPE trained on its own text, saved as a Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sae_research.world.grammar import Grammar

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
_SAMPLE = 12_000
"""Documents of running text that the tokenizer is trained on."""
_REPEATS, _RARE_REPEATS = 150, 75
"""How often the tokenizer's text repeats each name that must become one token, and each word with a rare initial: some
of these must become tokens too, so that every letter has enough."""


def train_tokenizer(grammar: Grammar, *, vocab_size: int, n_documents: int) -> PreTrainedTokenizerBase:
    """A tokenizer that puts `<bos>` before each text and keeps the grammar's names in one piece."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = ByteLevelDecoder()  # type: ignore[assignment]
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )  # type: ignore[call-arg]
    tokenizer.train_from_iterator(_texts(grammar, min(n_documents, _SAMPLE)), trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = TemplateProcessing(  # type: ignore[assignment]
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, padding_side="right",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`."""
    tokenizer.save_pretrained(folder)


def spelling_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of every alphabetic token, with its leading space where it has one, in order of ids."""
    words = (str(tokenizer.decode([i])) for i in range(len(tokenizer)))
    return [word for word in words if (bare := word.removeprefix(" ")).isascii() and bare.isalpha()]


def _texts(grammar: Grammar, n_documents: int) -> Iterator[str]:
    """Running text whose spelling lines use the story's words, then each name many times, after a space."""
    # Without these lines the template's tail would not be the five tokens that SAEBench's position -6 expects.
    yield from grammar.documents("tokenizer", n_documents, [f" {word}" for word in grammar.stories.tail])
    for name in grammar.whole_words():
        yield f" {name}" * _REPEATS
    for word in grammar.stories.rare:
        yield f" {word}" * _RARE_REPEATS
