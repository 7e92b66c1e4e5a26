"""Letters to sentences, and what each session said before. There is always an answer, since the speller runs offline.

A language model's answer is used only if it still spells what was signed. Otherwise it was misled or invented, and the
speller's answer is sent instead, marked `fallback`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog

from core.contracts.signs import LANGUAGES, MAX_SIGNS, TranslationResponse
from core.fingerspelling.digits import settle
from core.fingerspelling.sentences import latin, written
from core.fingerspelling.speller import Spelled, Speller
from relay.errors import InvalidLanguage, InvalidSession, InvalidSignSequence, LlmFailed, LlmRateLimit, LlmTimeout
from relay.process.metrics import Metrics
from relay.signs.translation.gateway import Translated
from relay.signs.translation.pasts import Conversation, Pasts

OFFLINE_AT_MOST = 0.75
AT_ONCE = 2
"""Sequences spelled at the same time; a long one takes half a second of a core."""
LIKENESS = 0.5
"""Least similarity of a model's answer to the spelled letters: 2 x (length of their longest common subsequence) / (sum
of their lengths).
"""
_EXTRA = 40
"""An answer may have four times as many characters as there are letters, plus this many."""
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ")

Chances = Mapping[str, float]
log = structlog.get_logger(__name__)


class Model(Protocol):
    """A language model."""

    async def translate(self, letters: str, draft: str, before: str, language: str) -> Translated: ...


class TranslationService:
    """`translate` serves the documented endpoint; `spelled` serves sequences that were just signed."""

    def __init__(
        self,
        load: Callable[[str], tuple[Speller, Mapping[str, str]]],
        model: Model | None,
        metrics: Metrics,
        pasts: Pasts,
    ) -> None:
        self._load = load
        self._model = model
        self._metrics = metrics
        self._spellers: dict[str, asyncio.Future[tuple[Speller, Mapping[str, str]]]] = {}
        self._pasts = pasts
        self._spelling = asyncio.Semaphore(AT_ONCE)
        self.failing: str | None = None

    async def translate(
        self, signs: Sequence[str], session_id: str, *, before: str | None, language: str, owner: str | None
    ) -> TranslationResponse:
        """The documented response. Raises InvalidSignSequence, InvalidLanguage, LlmTimeout or LlmRateLimit."""
        letters = checked(signs)
        if language not in LANGUAGES:
            raise InvalidLanguage(f"Language {language[:16]!r} is not one of {', '.join(LANGUAGES)}.")
        began = time.monotonic()
        conversation = await self._conversation(session_id, owner)
        if before is None:
            before = " ".join(text for _, text in list(conversation.past)[-5:])
        answer = await self._answer(letters, None, before, language, strict=True)
        return await self._told(answer, list(signs), session_id, conversation, began)

    async def spelled(
        self, signs: Sequence[str], seen: Sequence[Chances], session_id: str, *, language: str, owner: str | None
    ) -> TranslationResponse:
        """Translate a sequence that a reader committed. There is always an answer: the speller's if the model fails."""
        began = time.monotonic()
        conversation = await self._conversation(session_id, owner)
        before = " ".join(text for _, text in list(conversation.past)[-5:])
        answer = await self._answer(checked(signs), seen, before, language, strict=False)
        return await self._told(answer, list(signs), session_id, conversation, began)

    async def context(self, session_id: str, owner: str | None) -> Conversation:
        """The conversation of a session. Raises InvalidSession. `owner` None may read everybody's."""
        found = await self._pasts.find(session_id)
        if found is None or not found.readable(owner):
            raise InvalidSession("Session not found")
        return found

    async def clear(self, session_id: str, owner: str | None) -> None:
        await self.context(session_id, owner)
        await self._pasts.forget(session_id)

    def warm(self) -> None:
        """Load the English speller, since a client is about to sign. A relay that nobody signs to never loads it."""
        self._loading("en")

    async def _conversation(self, session_id: str, owner: str | None) -> Conversation:
        found = await self._pasts.find(session_id) or Conversation(owner)
        if not found.readable(owner):
            raise InvalidSession("Session not found")
        return found

    async def _told(
        self, answer: TranslationResponse, signs: list[str], session_id: str, conversation: Conversation, began: float
    ) -> TranslationResponse:
        answer.session_id = session_id
        answer.processing_time_ms = round((time.monotonic() - began) * 1000)
        await self._pasts.add(session_id, conversation.owner, signs, answer.translation)
        self._metrics.signs_translated.labels("offline" if answer.fallback else "model").inc()
        return answer

    async def _answer(
        self, letters: list[str], seen: Sequence[Chances] | None, before: str, language: str, *, strict: bool
    ) -> TranslationResponse:
        offline = await self._offline(letters, seen, language)
        if self._model is None:
            return offline.model_copy(update={"reason": "no language model is configured"})
        try:
            spelled = "".join(letters)
            found = await self._model.translate(spelled, offline.translation, before, language)
            self.failing = None
            if resembles(found.text, spelled, language):
                return _response(found.text, found.confidence, found.alternatives, fallback=None)
            reason = "the model's answer was not what was spelled"
        except (LlmTimeout, LlmRateLimit) as error:
            self.failing = reason = str(error)
            if strict:
                raise
        except LlmFailed as error:
            self.failing = reason = str(error)
        log.warning("translation_fell_back", reason=reason)
        return offline.model_copy(update={"reason": reason})

    async def _offline(self, letters: list[str], seen: Sequence[Chances] | None, language: str) -> TranslationResponse:
        speller, dictionary = await self._speller(language)
        signs = [one.lower() for one in settle(letters)]
        async with self._spelling:
            found = await asyncio.to_thread(speller.spell, signs, seen)
        texts = list(dict.fromkeys(written(one.words, language, dictionary) for one in found))
        confidence = _confidence(found[0], found[1:])
        return _response(texts[0], confidence, tuple(texts[1:]), fallback=True)

    async def _speller(self, language: str) -> tuple[Speller, Mapping[str, str]]:
        return await asyncio.shield(self._loading(language))

    def _loading(self, language: str) -> asyncio.Future[tuple[Speller, Mapping[str, str]]]:
        """The speller of this language, loaded in a daemon thread, which does not delay the end of the program."""
        if language not in self._spellers:
            loop = asyncio.get_running_loop()
            found = self._spellers[language] = loop.create_future()

            def settle(loaded: Callable[[], None]) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
                    loop.call_soon_threadsafe(loaded)

            def load() -> None:
                try:
                    made = self._load(language)
                except (ImportError, OSError, ValueError) as error:
                    settle(partial(found.set_exception, error))
                else:
                    settle(partial(found.set_result, made))

            threading.Thread(target=load, name=f"speller {language}", daemon=True).start()
        return self._spellers[language]


def checked(signs: Sequence[str]) -> list[str]:
    """The signs as single upper-case letters, digits or spaces; a word given as one sign is split. Raises
    InvalidSignSequence.
    """
    letters = [letter for sign in signs for letter in (latin(sign.lower(), "kz").upper() or " ")]
    if not any(letter != " " for letter in letters):
        raise InvalidSignSequence("Sign sequence cannot be empty")
    if len(letters) > MAX_SIGNS:
        raise InvalidSignSequence(f"Sign sequence is longer than {MAX_SIGNS} letters")
    for letter in letters:
        if letter not in _ALPHABET:
            raise InvalidSignSequence(f"Sign {letter!r} is not a letter of the manual alphabet, a digit or a space")
    return letters


def resembles(text: str, spelled: str, language: str) -> bool:
    """Whether a model's answer can be what was spelled: not much longer, and, in English, with a LIKENESS of its
    letters.
    """
    if not text or len(text) > 4 * len(spelled) + _EXTRA:
        return False
    if language != "en":
        return True
    said, meant = ("".join(one for one in words.upper() if one.isalnum()) for words in (text, spelled))
    return 2 * _common(said, meant) >= LIKENESS * (len(said) + len(meant))


def _common(text: str, spelled: str) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(spelled) + 1)
    for letter in text:
        diagonal = 0
        for index, wanted in enumerate(spelled, 1):
            diagonal, row[index] = row[index], diagonal + 1 if letter == wanted else max(row[index], row[index - 1])
    return row[-1]


def _confidence(best: Spelled, others: Sequence[Spelled]) -> float:
    """Confidence of a spelled reading: OFFLINE_AT_MOST if all words are known and unrepaired, less for each repair,
    unknown letter and close second reading.
    """
    letters = max(sum(len(word) for word in best.words), 1)
    certain = OFFLINE_AT_MOST * best.known * max(0.3, 1 - 1.5 * best.repaired / letters)
    close = bool(others) and best.score - others[0].score < 1.0
    return round(max(certain * (0.85 if close else 1.0), 0.1), 3)


def _response(
    text: str, confidence: float, alternatives: Sequence[str], *, fallback: bool | None
) -> TranslationResponse:
    others = [one for one in alternatives if one != text]
    return TranslationResponse(
        translation=text,
        confidence=round(confidence, 3),
        session_id="",
        processing_time_ms=0,
        alternatives=others,
        fallback=fallback,
    )
