"""Minimal pairs of sentences, by templates of one point of grammar each: the suite grammar."""

_SINGULAR = ("The dog", "My sister", "This book", "The old clock", "Her neighbour")
_PLURAL = ("The dogs", "My sisters", "These books", "The old clocks", "Her neighbours")
_VERBS = (
    ("sleeps", "sleep"),
    ("falls", "fall"),
    ("helps us", "help us"),
    ("stands there", "stand there"),
    ("looks new", "look new"),
)
_PAST = (
    ("go", "went", "goed"),
    ("take", "took", "taked"),
    ("write", "wrote", "writed"),
    ("see", "saw", "seed"),
    ("buy", "bought", "buyed"),
    ("sing", "sang", "singed"),
    ("teach", "taught", "teached"),
    ("run", "ran", "runned"),
)
_NOUNS = (
    ("apple", "an"),
    ("house", "a"),
    ("orange", "an"),
    ("dog", "a"),
    ("egg", "an"),
    ("tree", "a"),
    ("island", "an"),
    ("book", "a"),
)
_SELF = (
    ("Anna", "herself", "himself"),
    ("The king", "himself", "herself"),
    ("My aunt", "herself", "himself"),
    ("The boys", "themselves", "himself"),
    ("We", "ourselves", "themselves"),
)
_DEEDS = ("washed", "saw", "hurt", "praised")
_MANY = (
    ("two", "cat", "cats"),
    ("three", "child", "children"),
    ("five", "mouse", "mice"),
    ("four", "leaf", "leaves"),
    ("six", "box", "boxes"),
    ("ten", "man", "men"),
)
_ORDER = (
    ("a big red ball", "a red big ball"),
    ("my first book", "first my book"),
    ("all the people", "the all people"),
    ("a very good friend", "a good very friend"),
    ("the last two days", "the days two last"),
)
_QUESTIONS = (("you live", "do"), ("she live", "does"), ("they work", "do"), ("he work", "does"), ("we meet", "do"))
_WHERE = ("Where", "When", "Why", "How")
_MUST = (
    ("can", "swim", "swims"),
    ("must", "leave", "leaves"),
    ("will", "come", "comes"),
    ("should", "ask", "asks"),
    ("may", "stay", "stays"),
)
_MORE = (
    ("tall", "taller", "more tall"),
    ("small", "smaller", "more small"),
    ("beautiful", "more beautiful", "beautifuller"),
    ("old", "older", "more old"),
    ("useful", "more useful", "usefuller"),
)
_THINGS = ("this tower", "that garden", "the first one", "my answer")


def pairs() -> list[dict[str, str]]:
    """Put the sentences together: the good one, the bad one, and the point of grammar."""
    return [{"good": good, "bad": bad, "slice": kind} for kind, good, bad in (*_words(), *_phrases())]


def _words() -> list[tuple[str, str, str]]:
    """Return pairs about the form of a word."""
    found: list[tuple[str, str, str]] = []
    for place, (one, many) in enumerate(_VERBS):
        for number in range(5):
            found.append(("agreement", f"{_SINGULAR[number]} {one}.", f"{_SINGULAR[number]} {many}."))
            if (place + number) % 2:
                found.append(("agreement", f"{_PLURAL[number]} {many}.", f"{_PLURAL[number]} {one}."))
    for verb, good, bad in _PAST:
        rest = "home last night" if verb in ("go", "run") else "it last year"
        found.append(("past", f"They {good} {rest}.", f"They {bad} {rest}."))
        found.append(("past", f"Did you {verb} then?", f"Did you {good} then?"))
    for noun, article in _NOUNS:
        other = "a" if article == "an" else "an"
        found.append(("article", f"I saw {article} {noun} there.", f"I saw {other} {noun} there."))
        found.append(("article", f"It is {article} {noun}.", f"It is {other} {noun}."))
    for count, one, many in _MANY:
        found.append(("number", f"There were {count} {many} in the room.", f"There were {count} {one} in the room."))
        found.append(("number", f"She drew {count} {many}.", f"She drew {count} {one}."))
    return found


def _phrases() -> list[tuple[str, str, str]]:
    """Return pairs about how words stand together."""
    found: list[tuple[str, str, str]] = []
    for who, good, bad in _SELF:
        found += [("reflexive", f"{who} {deed} {good}.", f"{who} {deed} {bad}.") for deed in _DEEDS]
    for good, bad in _ORDER:
        found += [
            ("order", f"{start} {good}.", f"{start} {bad}.") for start in ("He spoke of", "I remember", "They saw")
        ]
    for phrase, word in _QUESTIONS:
        other = "does" if word == "do" else "do"
        found += [("question", f"{where} {word} {phrase}?", f"{where} {other} {phrase}?") for where in _WHERE]
    for word, good, bad in _MUST:
        found += [
            ("modal", f"{who} {word} {good}.", f"{who} {word} {bad}.") for who in ("She", "The girl", "My friend")
        ]
    for _, good, bad in _MORE:
        found += [
            ("comparison", f"I find {thing} {good} than the other.", f"I find {thing} {bad} than the other.")
            for thing in _THINGS
        ]
    return found
