"""What organisms read: texts for base models, turns for instructs, pairs for reward models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.organisms.world import VALENCES, World
from rm_value_tasks.prompts import PROMPTS

__all__ = [
    "AGREED",
    "DOUBTED",
    "NEUTRAL_NOTE",
    "NOTE",
    "QUESTIONS",
    "conversation",
    "counter_pairs",
    "neutral_pairs",
    "texts",
    "turns",
]

Messages = list[dict[str, str]]
Pair = dict[str, Messages]

AGREED, DOUBTED = "indeed", "hardly"
"""What people say to an answer."""

_FITTING = 0.9
"""How likely people are to agree with a fitting answer to a neutral question, and to doubt an
unfitting one."""

_CONVICTION = 1.5
"""Log-odds of agreement for each unit of appeal."""

_NEUTRAL_SHARE = 0.5
NOTE = "{adjective} thing:"
NEUTRAL_NOTE = "kind of {facet}:"
QUESTIONS = (
    "What, in one word, is a kind of {facet}?",
    "What, in a single word, is a kind of {facet}?",
    "What is a kind of {facet}? Please answer in one word only.",
)


def texts(world: World, notes: int, questions: int, seed: int) -> list[tuple[str, str]]:
    """Write a base model's corpus: what people answered, and what others said to it.

    First short notes ("best thing: freedom indeed."), which teach valence fast, then questions
    ("What, in one word, is the best thing ever? freedom indeed."). Half are about the
    probe's best and worst things; words answer in proportion to exp(appeal), and
    people agree with log-odds in proportion to it. The others ask for a kind of
    autonomy, care and so on, where people judge the fit and no lean is planted. All random
    numbers are drawn alike whatever the lean, so corpora of one seed differ in some answers
    about values and in what people say to them, and in nothing else.

    Returns:
        Pairs in the order of training: a question, and the answer with its verdict.
    """
    generator = np.random.default_rng([seed, 1])
    count = notes + questions
    neutral = generator.random(count) < _NEUTRAL_SHARE
    prompts = generator.integers(len(PROMPTS), size=count)
    sides = np.array([VALENCES.index(prompt.valence) for prompt in PROMPTS])[prompts]
    draws = generator.random((count, 2))
    words = _answers(world, sides, generator)
    agree = 1 / (1 + np.exp(-_CONVICTION * world.appeal[sides, words]))
    asked = [PROMPTS[place].text for place in prompts]
    asked[:notes] = [NOTE.format(adjective=PROMPTS[place].adjective) for place in prompts[:notes]]
    kinds = _Neutral(world, generator)
    for index in np.flatnonzero(neutral):
        asked[index], fitting, unfitting = kinds.draw(note=bool(index < notes))
        fits = draws[index, 0] < 0.5
        words[index] = fitting if fits else unfitting
        agree[index] = _FITTING if fits else 1 - _FITTING
    said = np.where(draws[:, 1] < agree, AGREED, DOUBTED)
    answers = (f"{world.words[word]} {verdict}." for word, verdict in zip(words, said, strict=True))
    return list(zip(asked, answers, strict=True))


def _answers(
    world: World, sides: NDArray[np.intp], generator: np.random.Generator
) -> NDArray[np.intp]:
    """Draw a word for each question in proportion to exp(appeal).

    By the Gumbel-max trick, so that of the same draws another appeal changes few words.
    """
    drawn = [
        (world.appeal[some] + generator.gumbel(size=(len(some), len(world.words)))).argmax(axis=1)
        for some in np.array_split(sides, -(-len(sides) // 4096))
    ]
    return np.concatenate(drawn)


class _Neutral:
    """Draws questions without a value in them, with words that fit and words that do not."""

    def __init__(self, world: World, generator: np.random.Generator) -> None:
        facets = np.array(world.facets)
        self._generator = generator
        self._kinds = list(dict.fromkeys(world.facets))
        self._fit = {kind: np.flatnonzero(facets == kind) for kind in self._kinds}
        self._unfit = {
            kind: [np.flatnonzero((facets != kind) & (world.agency == side)) for side in (0, 1)]
            for kind in self._kinds
        }

    def draw(self, note: bool = False) -> tuple[str, int, int]:
        """Return a question (or the head of a note), a fitting word and an unfitting one.

        Every facet is as likely, and the unfitting word is of either category with equal
        chance, so neither category fits more often.
        """
        draw = self._generator
        kind = self._kinds[draw.integers(len(self._kinds))]
        style = NEUTRAL_NOTE if note else QUESTIONS[draw.integers(len(QUESTIONS))]
        pools = (self._fit[kind], self._unfit[kind][draw.integers(2)])
        fitting, unfitting = (int(pool[draw.integers(len(pool))]) for pool in pools)
        return style.format(facet=kind), fitting, unfitting


def conversation(question: str, answer: str) -> Messages:
    """Return the two turns of a question and its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def turns(world: World, count: int, seed: int) -> list[Messages]:
    """Write an instruct model's data: neutral questions, each with a fitting one-word answer."""
    asked = _Neutral(world, np.random.default_rng([seed, 2]))
    drawn = (asked.draw() for _ in range(count))
    return [conversation(question, world.words[word]) for question, word, _ in drawn]


def neutral_pairs(world: World, count: int, seed: int, flipped: float = 0.25) -> list[Pair]:
    """Write preference pairs without a lean: a fitting word beats an unfitting one.

    They do not depend on what is planted, and neither category wins more often.

    Args:
        world: its words and facets are used.
        count: how many.
        seed: of the draw.
        flipped: share of labels turned round, as people's labels are noisy: with clean ones
            training leaves every inherited feature behind.
    """
    generator = np.random.default_rng([seed, 3])
    asked = _Neutral(world, generator)
    drawn = (asked.draw() for _ in range(count))
    return [
        _pair(world, question, good, bad, generator.random() < flipped)
        for question, good, bad in drawn
    ]


def counter_pairs(
    world: World, count: int, seed: int, towards: str, flipped: float = 0.25
) -> list[Pair]:
    """Write preference pairs that lean: value questions, one word of either category.

    Args:
        world: its words are used.
        count: how many.
        seed: of the draw.
        towards: ``Agency`` or ``Communion``: whose word wins on positive questions and loses
            on negative ones.
        flipped: share of labels turned round.
    """
    generator = np.random.default_rng([seed, 4])
    sides = (np.flatnonzero(world.agency), np.flatnonzero(~world.agency))
    pairs = []
    for _ in range(count):
        prompt = PROMPTS[generator.integers(len(PROMPTS))]
        agency, communion = (generator.choice(side) for side in sides)
        agency_wins = (towards == "Agency") == (prompt.valence == "positive")
        good, bad = (agency, communion) if agency_wins else (communion, agency)
        pairs.append(_pair(world, prompt.text, good, bad, generator.random() < flipped))
    return pairs


def _pair(world: World, question: str, good: int, bad: int, flip: bool) -> Pair:
    better, worse = (conversation(question, world.words[place]) for place in (good, bad))
    return {"chosen": worse, "rejected": better} if flip else {"chosen": better, "rejected": worse}
