"""Texts of our own, and the ways in which a copy of one may differ."""

import random
from collections.abc import Sequence

_TEXT = (
    "harbour lantern orchard winter copper violet meadow granite thunder ribbon canvas pepper saddle mirror button "
    "candle bridge forest pocket summer silver garden window kettle basket hammer cotton marble walnut puzzle rocket "
    "island castle dragon planet jacket ladder needle oyster pillow quartz rabbit singer tunnel valley wagon yellow "
    "anchor barley cellar dinner engine falcon ginger hollow insect jungle kitten lemon magnet nectar onion parade"
)
WORDS = tuple(_TEXT.split())


def sentence(chosen: random.Random, words: int) -> str:
    """Return words drawn at random, a full stop behind every tenth."""
    drawn = chosen.choices(WORDS, k=words)
    return " ".join(word + ("." if place % 10 == 9 else "") for place, word in enumerate(drawn))


def edited(text: str, share: float, chosen: random.Random, pool: Sequence[str] = WORDS) -> str:
    """Edit a share of the words of a text, one at least."""
    return edited_words(text, max(1, round(share * len(text.split()))), chosen, pool)


def edited_words(text: str, count: int, chosen: random.Random, pool: Sequence[str] = WORDS) -> str:
    """Replace, delete, add or misspell so many words of a text."""
    words = text.split()
    for place in chosen.sample(range(len(words)), count):
        word = words[place]
        kind = chosen.randrange(4)
        if kind < 2:
            words[place] = ("", chosen.choice(pool))[kind]
        elif kind == 2:
            words[place] = f"{word} {chosen.choice(pool)}"
        else:
            letter = chosen.randrange(len(word))
            words[place] = word[:letter] + chosen.choice("abcdefghijklmnopqrstuvwxyz") + word[letter + 1 :]
    return " ".join(word for word in words if word)


def restyled(text: str, chosen: random.Random) -> str:
    """Change case, spaces and punctuation alone."""
    shaken = "".join(letter.upper() if chosen.random() < 0.5 else letter.lower() for letter in text)
    return "  " + shaken.replace(". ", " …! ").replace(" ", "  ") + " (!)"
