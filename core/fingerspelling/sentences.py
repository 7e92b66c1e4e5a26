"""From words to a sentence as people write it, in English, Russian and Kazakh.

The manual alphabet is American, so Russian and Kazakh are spelled in Latin letters and turned back into Cyrillic:
PRIVET is Привет. Letters without a Latin spelling of their own (ъ, ь, ё as opposed to е) come from the dictionary or
are lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

QUESTIONS = frozenset(
    """
    how what when where who whom whose why which can could do does did is are am will would should may shall has
    have
    """.split()  # noqa: SIM905  a list of words reads as one
)
_SUBJECTS = frozenset(
    ("i", "he", "she", "it", "we", "they", "you", "my", "the", "your", "there", "this", "that", "anyone")
)
GREETINGS = frozenset(("hello", "hi", "hey", "yes", "no", "sorry", "please", "thanks"))
CAPITALS = frozenset(
    """
    i monday tuesday wednesday thursday friday saturday sunday january february april june july august september
    october november december english god
    """.split()  # noqa: SIM905  a list of words reads as one
)
_SHORT = {
    "im": "I'm", "ive": "I've", "dont": "don't", "doesnt": "doesn't", "didnt": "didn't", "cant": "can't",
    "couldnt": "couldn't", "wont": "won't", "wouldnt": "wouldn't", "isnt": "isn't", "arent": "aren't", "wasnt":
    "wasn't", "havent": "haven't", "hasnt": "hasn't", "shouldnt": "shouldn't", "youre": "you're", "theyre":
    "they're", "youve": "you've", "whats": "what's", "wheres": "where's", "thats": "that's", "theres":
    "there's", "hes": "he's", "shes": "she's", "lets": "let's",
}  # fmt: skip
"""Contractions as they are fingerspelled, without the apostrophe, for which there is no sign."""

RUSSIAN = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "e", "ж": "zh", "з": "z", "и": "i", "й":
    "y", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u",
    "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e",
    "ю": "yu", "я": "ya",
}  # fmt: skip
"""BGN/PCGN romanisation (1947), without its diacritics and apostrophes."""
KAZAKH = RUSSIAN | {"ә": "a", "ғ": "gh", "қ": "q", "ң": "ng", "ө": "o", "ұ": "u", "ү": "u", "һ": "h", "і": "i"}
_BACK = {
    "ru": {"h": "х", "j": "й", "q": "к", "w": "в", "x": "кс", "c": "ц"},
    "kz": {"h": "һ", "j": "ж", "q": "қ", "w": "у", "x": "х", "c": "ц"},
}
SCRIPTS = {"ru": RUSSIAN, "kz": KAZAKH}

KAZAKH_WORDS = tuple(
    """
    сәлем сәлеметсіз бе рахмет иә жоқ мен сен сіз ол біз маған саған су тамақ нан шай керек көмек көмектесіңіз
    дәрігер дәрі ауырады ауырып тұр басым ішім қолым аяғым жүрегім жақсы жаман суық ыстық қайда қашан қалай қалайсыз
    кім не неге бар келіңіз кешіріңіз өтінемін ана әке бала үй ұйықтағым келеді шаршадым қазір ертең бүгін кеше таң
    кеш сау болыңыз
    """.split()  # noqa: SIM905  a list of words reads as one
)
"""The Kazakh words known offline; others are turned into Cyrillic letter by letter."""


def contracted(frequencies: Mapping[str, float]) -> dict[str, float]:
    """A dictionary of words in a-z, with contractions as they are fingerspelled."""
    plain = {word: share for word, share in frequencies.items() if word.isascii() and word.isalpha()}
    for spelled, written in _SHORT.items():
        plain[spelled] = max(plain.get(spelled, 0.0), frequencies.get(written.lower(), 0.0))
    return plain


def latin(word: str, language: str) -> str:
    """A Cyrillic word as it is fingerspelled."""
    return "".join(SCRIPTS[language].get(letter, letter) for letter in word)


def cyrillic(word: str, language: str) -> str:
    """A Cyrillic spelling for a word in no dictionary, replacing the longest letter groups first."""
    pairs = sorted(((to, from_) for from_, to in SCRIPTS[language].items() if to), key=lambda pair: -len(pair[0]))
    known: dict[str, str] = {}
    for to, from_ in pairs:
        known.setdefault(to, from_)
    known = _BACK[language] | known
    text, place = "", 0
    while place < len(word):
        size = next((size for size in (4, 3, 2, 1) if word[place : place + size] in known), 0)
        text += known[word[place : place + size]] if size else word[place]
        place += max(size, 1)
    return text


def written(words: Sequence[str], language: str = "en", dictionary: Mapping[str, str] | None = None) -> str:
    """The sentence for `words`: capitals, contractions and, for an English question, a question mark."""
    if language in SCRIPTS:
        found = [
            (dictionary or {}).get(word) or (word if word.isdigit() else cyrillic(word, language)) for word in words
        ]
        return _begun(" ".join(found))
    text = " ".join(_word(word) for word in words)
    if len(words) > 2 and words[0] in GREETINGS and words[0] != "no":
        text = text.replace(" ", ", ", 1)
    return _begun(text) + ("?" if _asks(words) else "")


def _asks(words: Sequence[str]) -> bool:
    asked = words[1:] if len(words) > 1 and words[0] in GREETINGS else words
    if len(asked) < 2 or asked[0] not in QUESTIONS:
        return False
    inverted = asked[1] in _SUBJECTS
    return asked[0] in ("how", "what", "when", "where", "who", "why", "which", "whose") or inverted


def _word(word: str) -> str:
    if word in _SHORT:
        return _SHORT[word]
    return word.capitalize() if word in CAPITALS else word


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]
