"""What a stage says of how far it is."""

from __future__ import annotations

import logging

import pytest

from sae_research.progress import Progress, duration


def test_without_a_terminal_a_line_says_how_far_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("core", seconds_between_lines=0) as progress:
        progress.expect(1200)
        progress.advance(200)
        progress.advance(100, doing="6 SAEs at blocks.9.hook_resid_post")
    first, line = caplog.messages
    assert first == "core: 200 of 1,200 steps (17 %), 0 s"
    assert line == "core: 300 of 1,200 steps (25 %), 0 s, about 0 s left; 6 SAEs at blocks.9.hook_resid_post"


def test_the_time_left_is_reckoned_from_the_first_step(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0, 110, 170])
    monkeypatch.setattr("sae_research.progress.time.monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO), Progress("training") as progress:
        progress.expect(235)
        progress.advance()  # The first waits for the buffer to be filled.
        progress.advance(9)
    assert caplog.messages == [
        "training: 1 of 235 steps (0 %), 1 min 50 s",
        "training: 10 of 235 steps (4 %), 2 min 50 s, about 25 min 0 s left",
    ]


def test_lines_are_apart(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("core") as progress:
        progress.expect(2)
        progress.advance()
        progress.advance()
    assert caplog.messages == []


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_that_was_asked_for_or_refused_logs_nothing(shown: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("core", shown=shown, seconds_between_lines=0) as progress:
        progress.advance()
    assert caplog.messages == []


@pytest.mark.parametrize(("seconds", "words"), [(7.4, "7 s"), (125, "2 min 5 s"), (3_600 * 2 + 60 * 3, "2 h 3 min")])
def testdurations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
