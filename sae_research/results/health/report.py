"""The health of SAEs for readers: one table for all, and a page for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_lowercase

from sae_research.results.health.answers import QUESTIONS, Answer, Question
from sae_research.results.health.assess import Health
from sae_research.results.health.settings import HealthSettings
from sae_research.results.markdown import code, listed, table
from sae_research.results.numbers import shown

_EVIDENCE = {
    "against_mean_ablation": "loss recovered, against mean ablation",
    "against_token_frequencies": "loss recovered, against token frequencies",
    "explained_variance": "explained variance",
    "tokens": "tokens that silence was observed on",
    "silent_latents": "silent latents",
    "silent_but_rare": "of these rare and not dead, at least",
    "silent_latents_fire_on_less_than": "share of tokens that a silent latent fires on, at most (95 %)",
    "cosine": "decoder cosine from which a latent is redundant",
    "largest_cosine": "largest decoder cosine of two latents",
    "mean_largest_cosine": "mean over latents of the largest decoder cosine",
    "full_absorption": "full absorption",
}
"""What `Answer.evidence` holds, in words."""


def health_section(healths: Sequence[Health], settings: HealthSettings) -> str:
    """The section of METRICS.md: a line per SAE by L0, the controls last; empty where nothing was asked.

    Nothing was asked where neither core nor absorption was measured.
    """
    if all(answer.value is None for health in healths for answer in health.answers.values()):
        return ""
    notes: list[str] = []
    lines = [_line(health, notes) for health in sorted(healths, key=_place)]
    sections = [
        "## Health",
        " ".join([_thresholds(settings), *_silence(healths), *_controls(healths)]),
        table(["SAE", "verdict", "healthy", *QUESTIONS.values()], lines, numbers_from=2),
        " ".join(f"({letter}) {note}." for letter, note in zip(_letters(len(notes)), notes, strict=True)),
        "What to do about an SAE, and the reasons in full: `python -m sae_research health SAE`. What the questions "
        "mean, and what they do not: `docs/metrics.md`.",
    ]
    return "\n\n".join(section for section in sections if section)


def health_page(health: Health, settings: HealthSettings, *, verbose: bool = False) -> str:
    """Everything about one SAE: each question with its thresholds, then advice; `verbose` adds what it rests on."""
    lines = [
        [title, _number(answer), _interval(answer), _wanted(question, settings), answer.verdict or "–"]
        for question, title in QUESTIONS.items()
        for answer in [health.answers[question]]
    ]
    sections = [f"# {health.sae}: {_verdict(health)}"]
    sections.append(table(["question", "value", "95 % interval", "healthy", "verdict"], lines, numbers_from=1))
    reasons = [
        f"- {QUESTIONS[question]}: no verdict: {answer.reason}."
        for question, answer in health.answers.items()
        if answer.reason is not None
    ]
    sections += ["\n".join(reasons)] if reasons else []
    sections += list(_silence([health]))
    if verbose:
        evidence = {name: value for answer in health.answers.values() for name, value in answer.evidence.items()}
        rows = [[_EVIDENCE.get(name, name), shown(value)] for name, value in evidence.items()]
        sections.append(table(["what it rests on", "value"], rows))
    sections += ["\n".join(["What to do:", *(f"- {line}" for line in health.advice)])] if health.advice else []
    return "\n\n".join(sections)


def _place(health: Health) -> tuple[bool, bool, float, str]:
    l0 = health.answers["l0"].value
    return health.control, l0 is None, l0 or 0.0, health.sae


def _line(health: Health, notes: list[str]) -> list[str]:
    cells = []
    for question in QUESTIONS:
        answer = health.answers[question]
        text = _emphasised(answer)
        reason = answer.in_short or answer.reason
        if reason is not None:
            if reason not in notes:
                notes.append(reason)
            text = f"{text} ({_letters(len(notes))[notes.index(reason)]})"
        cells.append(text)
    verdict = "control" if health.control else health.verdict or "–"
    return [code(health.sae), verdict, f"{health.n_healthy} of {len(health.verdicts)}", *cells]


def _emphasised(answer: Answer) -> str:
    """**Bad** numbers in bold, *borderline* ones in italics."""
    stars = {"bad": "**", "borderline": "*"}.get(answer.verdict or "", "")
    return "–" if answer.value is None else f"{stars}{shown(answer.value, 3)}{stars}"


def _letters(n: int) -> list[str]:
    """a, b, ..., z, then numbers."""
    return [ascii_lowercase[i] if i < len(ascii_lowercase) else str(i + 1) for i in range(n)]


def _thresholds(settings: HealthSettings) -> str:
    wanted = [f"{title} {_wanted(question, settings)}" for question, title in QUESTIONS.items()]
    return (
        f"Healthy (`health` in `params.yaml`): {', '.join(wanted)}. **Bad** in bold; *borderline* in italics: past "
        "that, or the 95 % interval reaches across a threshold. A latent is redundant if another decoder row has a "
        f"cosine of {settings.redundant.cosine:g} or more with its own. The verdict on an SAE is its worst."
    )


def _wanted(question: Question, settings: HealthSettings) -> str:
    """What is healthy, and in brackets where bad begins."""
    if question == "l0":
        return "{:g} to {:g}".format(*settings.l0.healthy)
    limits = getattr(settings, question)
    ends = (f"{limits.healthy:g}", f"{limits.borderline:g}")
    return (
        "{} or more (bad below {})".format(*ends)
        if question == "loss_recovered"
        else "{} or less (bad above {})".format(*ends)
    )


def _silence(healths: Sequence[Health]) -> Iterator[str]:
    """What a dead latent is: silent on so many tokens, which bounds how often it fires."""
    tokens = sorted({t for health in healths if (t := health.answers["dead"].evidence.get("tokens"))})
    if tokens:
        counts = listed([f"{n:,}" for n in dict.fromkeys((tokens[0], tokens[-1]))], last="to")
        yield (
            f"Dead latents were silent on all of {counts} tokens: with 95 % confidence such a latent fires on fewer "
            f"than {shown(3 / tokens[0], 3)} of tokens (3 / tokens)."
        )


def _controls(healths: Sequence[Health]) -> Iterator[str]:
    """How many controls recover as much loss as these thresholds ask for."""
    recovered = [health.answers["loss_recovered"].verdict for health in healths if health.control]
    n, n_healthy = sum(verdict is not None for verdict in recovered), recovered.count("healthy")
    if n:
        moral = ": a healthy number does not show that anything was learned" if n_healthy else ""
        yield f"Of {n} controls, which learned nothing, {n_healthy} recover a healthy share of the loss{moral}."


def _verdict(health: Health) -> str:
    if health.control:
        return "a control, which was never meant to be healthy"
    if health.verdict is None:
        return "no verdict"
    return f"{health.verdict}, {health.n_healthy} of {len(health.verdicts)} healthy"


def _number(answer: Answer) -> str:
    return "–" if answer.value is None else shown(answer.value)


def _interval(answer: Answer) -> str:
    if answer.value is None or (answer.low is None and answer.high is None):
        return "–"
    ends = [answer.value if end is None else end for end in (answer.low, answer.high)]
    return f"[{', '.join(shown(end) for end in ends)}]"
