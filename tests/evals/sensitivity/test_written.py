"""Which of a judge's texts count: worked by hand."""

from __future__ import annotations

from sae_research.evals.sensitivity.written import N_TEXTS, read_written

EXAMPLE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
"""14 words, so 10 runs of five."""
MARKS = ("<<", ">>")


def test_texts_lose_the_markers_of_their_prompt_and_no_others() -> None:
    written = read_written(["a <<b>> {{c}} d", "x < y > z"], [EXAMPLE], MARKS)
    assert written == (("a b {{c}} d", "x < y > z"), ())
    assert read_written(["a <<b>> {{c}}"], [EXAMPLE], ("{{", "}}")).texts == ("a <<b>> c",)


def test_a_text_with_the_words_of_an_example_is_a_copy() -> None:
    texts = ["Yes, no.", "  Yes ,\nno .", "Yes, <<no>>.", "yes, no.", "Yes, no, yes."]
    assert read_written(texts, ["Yes, no.", EXAMPLE], MARKS) == (
        ("yes, no.", "Yes, no, yes."),
        ("Yes, no.", "  Yes ,\nno .", "Yes, no."),
    )


def test_a_text_with_nine_of_ten_runs_of_an_example_is_a_copy() -> None:
    words = EXAMPLE.split()
    nine, eight = " ".join(["new", *words[:13]]), " ".join(["new", *words[:12], "end"])
    longer = f"before it {EXAMPLE} and after it"
    # In two halves: the runs across the gap are others, 6 of the example's 10 are left.
    halves = " ".join([*words[:7], "gap", *words[7:]])
    assert read_written([nine, eight, longer, halves], [EXAMPLE], MARKS) == ((eight, halves), (nine, longer))


def test_runs_of_different_examples_do_not_add_up() -> None:
    words = [f"v{i}" for i in range(8)]
    first, second = " ".join(words[:6]), " ".join([*words[3:], "w"])
    assert read_written([" ".join(["x", *words[1:7], "y"])], [first, second], MARKS).copies == ()


def test_the_first_ten_of_eleven_count() -> None:
    texts = [f"text {i}" for i in range(11)]
    assert read_written(texts, [EXAMPLE], MARKS).texts == tuple(texts[:N_TEXTS])
    assert read_written([EXAMPLE, *texts[1:]], [EXAMPLE], MARKS).texts == tuple(texts[1:])
