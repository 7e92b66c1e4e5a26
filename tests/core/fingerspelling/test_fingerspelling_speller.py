"""Sentences offline: clean phrases exact, misread letters repaired by what is taken for what, other alphabets."""

from __future__ import annotations

import numpy as np
import pytest

from core.fingerspelling.digits import settle
from core.fingerspelling.sentences import KAZAKH_WORDS, contracted, cyrillic, latin, written
from core.fingerspelling.speller import Speller
from relay.signs.translation.gateway import frequencies
from tests.core.fingerspelling.phrases import common
from tests.core.fingerspelling.spelling import misspelled, network

PHRASES = common()


@pytest.fixture(scope="module")
def speller() -> Speller:
    shares, _ = frequencies("en")
    return Speller(shares, network().facts["misread"])


def said(speller: Speller, letters: str) -> str:
    return " ".join(speller.spell(list(letters))[0].words)


def test_a_thousand_clean_phrases(speller: Speller) -> None:
    assert len(PHRASES) == 1000
    wrong = [phrase for phrase in PHRASES if said(speller, phrase.replace(" ", "")) != phrase]
    assert len(wrong) <= 50, wrong[:20]


def test_misread_letters_are_repaired(speller: Speller) -> None:
    rng = np.random.default_rng(7)
    some = PHRASES[::5]
    right = sum(said(speller, misspelled(phrase.replace(" ", ""), rng)) == phrase for phrase in some)
    assert right >= 0.75 * len(some)


def test_what_the_reader_saw_beside_counts(speller: Speller) -> None:
    seen = [{"H": 0.9}, {"E": 0.9}, {"I": 0.5, "L": 0.45}, {"P": 0.9}]
    assert speller.spell(list("heip"), seen)[0].words == ("help",)


def test_signed_spaces_and_digits_are_kept(speller: Speller) -> None:
    assert said(speller, "room 12 a") == "room 12 a"
    assert said(speller, "at5pm").split()[1] == "5"
    assert speller.spell(list(" "))[0].words == ()


def test_nothing_known_is_given_back_as_spelled(speller: Speller) -> None:
    found = speller.spell(list("xqzjvk"))[0]
    assert "".join(found.words) == "xqzjvk" or found.repaired
    assert found.known < 1 or found.repaired


@pytest.mark.parametrize(
    ("letters", "sentence"),
    [
        ("hello", "Hello"),
        ("howareyou", "How are you?"),
        ("hellohowareyou", "Hello, how are you?"),
        ("imtired", "I'm tired"),
        ("idontknow", "I don't know"),
        ("seeyoumonday", "See you Monday"),
        ("canyouhelpme", "Can you help me?"),
    ],
)
def test_sentences_are_written_as_people_write(speller: Speller, letters: str, sentence: str) -> None:
    assert written(speller.spell(list(letters))[0].words) == sentence


def test_contractions_do_not_shadow_words() -> None:
    found = contracted({"don't": 0.1, "were": 0.2, "it's": 0.1, "naïve": 0.1})
    assert found["dont"] == 0.1
    assert set(found) >= {"dont", "were"}
    assert "naïve" not in found


def test_russian_and_kazakh_come_back_in_their_own_letters() -> None:
    shares, words = frequencies("ru")
    assert written(Speller(shares).spell(list("privetkakdela"))[0].words, "ru", words) == "Привет как дела"
    shares, words = frequencies("kz")
    assert written(Speller(shares).spell(list(latin("салем", "kz")))[0].words, "kz", words) == "Сәлем"
    assert all(words[latin(word, "kz")] for word in KAZAKH_WORDS)
    assert cyrillic("shchuka", "ru") == "щука"


def test_letters_held_like_digits_settle_by_their_neighbours() -> None:
    assert settle(["1", "O", "3"]) == ["1", "0", "3"]
    assert settle(["4", "V", "W"]) == ["4", "2", "6"]
    assert settle(list("HELLO")) == list("HELLO")
    assert settle(["F", "O", "R", "3"]) == ["F", "O", "R", "3"]
