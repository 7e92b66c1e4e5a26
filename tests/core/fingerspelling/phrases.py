"""A thousand common phrases, made from patterns that people say at a bedside and in every day's talk."""

from __future__ import annotations

from itertools import product

WHO = ("i", "you", "we", "they", "he", "she")
NEEDS = (
    "water",
    "help",
    "the nurse",
    "a doctor",
    "my glasses",
    "a blanket",
    "my phone",
    "some food",
    "the bathroom",
    "rest",
)
PARTS = ("head", "back", "leg", "arm", "chest", "stomach", "knee", "hand", "foot", "neck", "throat", "shoulder")
FEEL = ("tired", "cold", "hot", "sick", "hungry", "thirsty", "happy", "sad", "better", "worse", "dizzy", "afraid")
ASK = ("what is", "where is", "who is", "when is")
THINGS = ("my doctor", "the nurse", "dinner", "the bathroom", "my wife", "your name", "the time", "my son", "the door")
DO = ("open the window", "close the door", "turn off the light", "call my family", "bring me some water", "sit down")
DO += ("come back later", "wait a moment", "speak slowly", "help me up", "hold my hand", "read it to me")
POLITE = ("please", "can you", "could you", "would you please")
WHEN = ("now", "today", "tomorrow", "later", "tonight", "this morning", "in the evening")
FIXED = (
    "hello", "good morning", "good night", "how are you", "nice to meet you", "thank you very much", "you are welcome",
    "see you tomorrow", "happy birthday", "i love you", "no thank you", "yes please", "i am sorry", "excuse me",
    "what time is it", "how much is it", "i do not understand", "where do you live", "what do you want",
    "i want to go home", "it is too loud", "i can not sleep", "leave me alone", "have a nice day", "good luck",
    "take care",
    "congratulations",
)  # fmt: skip


def common() -> list[str]:
    """1,000 of them, each once."""
    found = list(FIXED)
    found += [f"{who} {verb} {what}" for who, what in product(WHO, NEEDS) for verb in _verbs(who)]
    found += [f"my {part} {does}" for part in PARTS for does in ("hurts", "is cold", "feels better", "is very sore")]
    found += [f"{who} {be} {how}" for who, how in product(WHO, FEEL) for be in _bes(who)]
    found += [f"{ask} {thing}" for ask, thing in product(ASK, THINGS)]
    found += [f"{polite} {do}" for polite, do in product(POLITE, DO)]
    found += [f"{do} {when}" for do, when in product(DO, WHEN)]
    found += [f"{who} will come {when}" for who, when in product(WHO, WHEN)]
    found += [f"is the {part} {how}" for part in PARTS for how in ("broken", "better", "all right")]
    found += [
        f"{who} {verb} {what} {when}" for who, what, when in product(WHO, NEEDS, WHEN) for verb in _verbs(who)[:1]
    ]
    return list(dict.fromkeys(found))[:1000]


def _verbs(who: str) -> tuple[str, ...]:
    return ("needs", "wants", "has") if who in ("he", "she") else ("need", "want", "have")


def _bes(who: str) -> tuple[str, ...]:
    be = {"i": "am", "he": "is", "she": "is"}.get(who, "are")
    return (be, f"{be} not", f"{be} very")
