"""From a spelled sequence to a sentence, offline: the words that best explain the letters, given how letters are
misread.

A noisy channel (Shannon 1948) over a dictionary of word frequencies: each letter was either meant or misread, as the
letter model misreads. The dictionary is given; signed spaces are kept. Languages: English, and Russian and Kazakh by
transliteration.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LONGEST_WORD = 16
KEPT = 6
"""Readings kept at each position of the sequence."""
WRONG = 0.04
"""Probability that a letter is taken wrongly."""
LOST = 0.006
_UNKNOWN = -11.0
_UNKNOWN_LETTER = -3.1
_ALONE = {"a", "i", "o"}

Chances = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spelled:
    """`words` in order; `known`: share of letters inside dictionary words; `repaired`: number of corrected words."""

    words: tuple[str, ...]
    score: float
    known: float
    repaired: int


@dataclass(frozen=True, slots=True)
class _Path:
    score: float
    words: tuple[str, ...] = ()
    known: int = 0
    repaired: int = 0


class Speller:
    """A dictionary prepared for spelling. Building one takes about a second, so do it once, outside the event loop.

    `frequencies` maps lower-case words of a-z to their share of running text; `misread[a][b]` is how often a is read as
    b.
    """

    def __init__(self, frequencies: Mapping[str, float], misread: Mapping[str, Chances] | None = None) -> None:
        self._words = {word: math.log(share) for word, share in frequencies.items() if 0 < len(word) <= LONGEST_WORD}
        self._misread = misread or {}
        self._near: dict[str, list[str]] = {}
        for word in self._words:
            if len(word) > 1:
                for place in range(len(word)):
                    self._near.setdefault(f"{word[:place]}.{word[place + 1 :]}", []).append(word)

    def spell(self, letters: Sequence[str], seen: Sequence[Chances] | None = None, most: int = 3) -> list[Spelled]:
        """The best readings of lower-case `letters` (digits and " " stand for themselves), best first.

        `seen` gives the probabilities the reader had for each letter; they take precedence over the general `misread`.
        """
        found: list[_Path] = [_Path(0.0)]
        for part, chances in _parts(letters, seen):
            ends = self._explain(part, chances) if part[0].isalpha() else [_Path(0.0, (part,), len(part))]
            found = _best((_joined(before, after) for before in found for after in ends), KEPT)
        count = max(sum(one != " " for one in letters), 1)
        return [Spelled(one.words, one.score, one.known / count, one.repaired) for one in found[:most]]

    def _explain(self, text: str, chances: Sequence[Chances] | None) -> list[_Path]:
        """The best ways to divide a run of letters into words."""
        at: list[list[_Path]] = [[_Path(0.0)], *([] for _ in text)]
        for end in range(1, len(text) + 1):
            options: list[_Path] = []
            for start in range(max(0, end - LONGEST_WORD), end):
                words = self._candidates(text[start:end], chances[start:end] if chances else None)
                options += [_joined(before, word) for word in words for before in at[start]]
            at[end] = _best(options, KEPT)
        return at[-1]

    def _candidates(self, text: str, chances: Sequence[Chances] | None) -> list[_Path]:
        right = math.log(1 - WRONG) * len(text)
        found = [_Path(_UNKNOWN + _UNKNOWN_LETTER * len(text), (text,))]
        if text in self._words and (len(text) > 1 or text in _ALONE):
            found.append(_Path(self._words[text] + right, (text,), len(text)))
        if len(text) < 2:
            return found
        for place in range(len(text)):
            for word in self._near.get(f"{text[:place]}.{text[place + 1 :]}", ()):
                if word != text:
                    wrong = self._cost(word[place], text[place], chances[place] if chances else None)
                    found.append(_Path(self._words[word] + right + wrong, (word,), len(text), 1))
            if (word := text[:place] + text[place + 1 :]) in self._words and len(word) > 2:
                found.append(_Path(self._words[word] + right + math.log(LOST), (word,), len(text), 1))
        if len(text) > 3:
            found += [
                _Path(self._words[word] + right + math.log(LOST), (word,), len(text), 1)
                for place in range(1, len(text))
                for word in self._near.get(f"{text[:place]}.{text[place:]}", ())
            ]
        return found

    def _cost(self, meant: str, read: str, chances: Chances | None) -> float:
        if chances and meant.upper() in chances:
            return math.log(max(chances[meant.upper()], 0.004)) - math.log(max(chances.get(read.upper(), 1.0), 0.01))
        general = self._misread.get(meant.upper(), {}).get(read.upper(), 0.0)
        return math.log(WRONG * (0.5 * general + 0.5 / 25))


def _parts(letters: Sequence[str], seen: Sequence[Chances] | None) -> Iterable[tuple[str, Sequence[Chances] | None]]:
    """Divide into runs of letters and of digits; spaces separate."""
    start = 0
    for end in range(1, len(letters) + 1):
        if end == len(letters) or _kind(letters[end]) != _kind(letters[start]):
            if letters[start] != " ":
                yield "".join(letters[start:end]), seen[start:end] if seen else None
            start = end


def _kind(letter: str) -> str:
    return " " if letter == " " else "digit" if letter.isdigit() else "letter"


def _joined(before: _Path, after: _Path) -> _Path:
    words = before.words + after.words
    return _Path(before.score + after.score, words, before.known + after.known, before.repaired + after.repaired)


def _best(paths: Iterable[_Path], most: int) -> list[_Path]:
    chosen: dict[tuple[str, ...], _Path] = {}
    for path in paths:
        known = chosen.get(path.words)
        if known is None or known.score < path.score:
            chosen[path.words] = path
    return heapq.nlargest(most, chosen.values(), key=lambda one: one.score)
