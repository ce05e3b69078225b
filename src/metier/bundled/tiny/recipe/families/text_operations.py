"""Operations on words and text: case, order, copying, counting, spelling, days and months."""

from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, sentence, single, words


def _some_words(random: Random, low: int = 3, high: int = 6) -> list[str]:
    names = ("nouns", "animals", "foods", "objects", "colours", "jobs")
    return random.sample(words(random.choice(names)), random.randint(low, high))


def letter_case(random: Random) -> Task:
    """Write a text in upper or lower case."""
    text = random.choice((sentence(random, random.randint(5, 9)), " ".join(_some_words(random, 1, 4))))
    if random.random() < 0.5:
        phrasings = (
            "Write this in upper case: {text}", "Convert to capital letters: {text}", "{text}\n\nMake it all uppercase.",
            "Put the following text in capitals.\n{text}",
        )  # fmt: skip
        return single(ask(random, phrasings, text=text), text.upper())
    text = random.choice((text, text.upper(), text.title()))
    phrasings = (
        "Write this in lower case: {text}", "Convert to small letters: {text}", "{text}\n\nMake it all lowercase.",
        "Put the following text in lowercase.\n{text}",
    )  # fmt: skip
    return single(ask(random, phrasings, text=text), text.lower())


def copying(random: Random) -> Task:
    """Repeat a text exactly, once or several times."""
    if random.random() < 0.3:
        word, times = random.choice(words("nouns")), random.randint(2, 6)
        phrasings = (
            'Write the word "{word}" {times} times.',
            "Repeat {word} {times} times.",
            "Say {word} {times} times.",
        )
        return single(ask(random, phrasings, word=word, times=times), " ".join([word] * times))
    pieces = (sentence(random, random.randint(5, 12)), ", ".join(_some_words(random)), str(random.randint(100, 99999)))
    text = random.choice(pieces)
    phrasings = (
        "Repeat this: {text}", "Copy the following text exactly.\n{text}", "Say exactly this: {text}",
        "Echo: {text}", "Write the same text again: {text}", "Repeat after me.\n\n{text}",
    )  # fmt: skip
    return single(ask(random, phrasings, text=text), text)


def position(random: Random) -> Task:
    """Give the first, last or some other word of a sentence."""
    text = sentence(random, random.randint(4, 9))
    bare = text.rstrip(".").split()
    where, index = random.choice((("first", 0), ("last", -1), ("second", 1), ("third", 2), ("first", 0), ("last", -1)))
    phrasings = (
        "What is the {where} word of this sentence? {text}", "Give me the {where} word: {text}",
        "{text}\nReply with the {where} word only.", "Find the {where} word in: {text}",
    )  # fmt: skip
    return single(ask(random, phrasings, where=where, text=text), bare[index])


def sorting(random: Random) -> Task:
    """Sort words or numbers."""
    if random.random() < 0.5:
        chosen = _some_words(random)
        listed, order = ", ".join(chosen), sorted(chosen)
        phrasings = (
            "Sort these words alphabetically: {listed}", "Put in alphabetical order: {listed}",
            "{listed}\nSort from A to Z.", "Arrange these words in alphabetical order.\n{listed}",
        )  # fmt: skip
        return single(ask(random, phrasings, listed=listed), ", ".join(order))
    numbers = random.sample(range(100), random.randint(3, 6))
    down = random.random() < 0.35
    listed = ", ".join(map(str, numbers))
    up_phrasings = (
        "Sort these numbers: {listed}",
        "Order from smallest to largest: {listed}",
        "Sort ascending: {listed}",
    )
    down_phrasings = (
        "Sort from largest to smallest: {listed}",
        "Sort descending: {listed}",
        "{listed}\nBiggest first.",
    )
    prompt = ask(random, down_phrasings if down else up_phrasings, listed=listed)
    return single(prompt, ", ".join(map(str, sorted(numbers, reverse=down))))


def reversing(random: Random) -> Task:
    """Reverse the order of words or of letters."""
    if random.random() < 0.75:
        chosen = _some_words(random)
        mark = random.choice((", ", " "))
        phrasings = (
            "Reverse the order of these words: {listed}", "Write this list backwards: {listed}",
            "{listed}\nGive the words in reverse order.",
        )  # fmt: skip
        return single(ask(random, phrasings, listed=mark.join(chosen)), mark.join(reversed(chosen)))
    word = random.choice([noun for noun in words("nouns") if len(noun) < 7])
    phrasings = ('Write "{word}" backwards.', "Reverse the letters of {word}.", "Spell {word} in reverse.")
    return single(ask(random, phrasings, word=word), word[::-1])


def spelling(random: Random) -> Task:
    """Spell a word letter by letter, put letters together, or give the first or last letter."""
    word = random.choice(words(random.choice(("nouns", "animals", "foods", "objects"))))
    mark = random.choice(("-", " ", ", "))
    kind = random.randrange(4)
    if kind == 0:
        shown = {"-": "with dashes between the letters", " ": "with spaces", ", ": "with commas"}[mark]
        return single(ask(random, ("Spell {word} {shown}.", 'Spell the word "{word}" {shown}.'), word=word, shown=shown),
                      mark.join(word))  # fmt: skip
    if kind == 1:
        phrasings = ("Which word is this? {letters}", "Put these letters together: {letters}", "Join: {letters}")
        return single(ask(random, phrasings, letters=mark.join(word)), word)
    first = kind == 2
    phrasings = (
        "What is the {where} letter of {word}?",
        'Which letter does "{word}" {verb} with?',
        "{where} letter of {word}?",
    )
    prompt = ask(random, phrasings, where="first" if first else "last", word=word, verb="start" if first else "end")
    return single(prompt, word[0 if first else -1])


def counting(random: Random) -> Task:
    """Count words, items or letters."""
    kind = random.randrange(3)
    if kind == 0:
        text = sentence(random, random.randint(4, 9))
        phrasings = (
            "How many words are in this sentence? {text}",
            "Count the words: {text}",
            "{text}\nNumber of words?",
        )
        return single(ask(random, phrasings, text=text), len(text.split()))
    if kind == 1:
        chosen = _some_words(random, 2, 7)
        phrasings = (
            "How many items are in this list? {listed}",
            "Count the items: {listed}",
            "{listed}\nHow many are these?",
        )
        return single(ask(random, phrasings, listed=", ".join(chosen)), len(chosen))
    word = random.choice(words("nouns"))
    phrasings = ("How many letters does {word} have?", 'Count the letters in "{word}".', "Number of letters in {word}?")
    return single(ask(random, phrasings, word=word), len(word))


def membership(random: Random) -> Task:
    """Say whether an item is in a list, or which item is missing from a second list."""
    chosen = _some_words(random, 3, 6)
    if random.random() < 0.6:
        item = random.choice((random.choice(chosen), random.choice(words("nouns"))))
        phrasings = (
            "Is {item} in this list? {listed} Answer yes or no.", "Yes or no: does the list contain {item}? {listed}",
            "{listed}\nIs {item} among these?",
        )  # fmt: skip
        prompt = ask(random, phrasings, item=item, listed=", ".join(chosen) + ".")
        return single(prompt, "yes" if item in chosen else "no")
    missing = random.choice(chosen)
    rest = [word for word in chosen if word != missing]
    random.shuffle(rest)
    phrasings = ("Which word of the first list is missing in the second? First: {all}. Second: {rest}.",
                 "List one: {all}\nList two: {rest}\nWhich word is missing from list two?")  # fmt: skip
    return single(ask(random, phrasings, all=", ".join(chosen), rest=", ".join(rest)), missing)


def calendar(random: Random) -> Task:
    """Give the day or month before or after another."""
    kind, unit = random.choice((("days", "day"), ("months", "month")))
    names = words(kind)
    index = random.randrange(len(names))
    after = random.random() < 0.6
    side = "after" if after else "before"
    phrasings = (
        "Which {unit} comes {side} {name}?", "What is the {unit} {side} {name}?", "Name the {unit} right {side} {name}.",
        "Tell me the {unit} that comes just {side} {name}.",
    )  # fmt: skip
    answer = names[(index + (1 if after else -1)) % len(names)]
    return single(ask(random, phrasings, unit=unit, side=side, name=names[index]), answer)


FAMILIES: dict[Family, float] = {
    letter_case: 1, copying: 2, position: 1.5, sorting: 1.5, reversing: 1, spelling: 1, counting: 1, membership: 1,
    calendar: 1,
}  # fmt: skip
