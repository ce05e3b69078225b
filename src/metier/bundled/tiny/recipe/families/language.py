"""Words and sentences: opposites, plurals, past tense, missing words, facts and continuing real sentences."""

from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, fill, lines, pairs, sentence, single, words


def opposite(random: Random) -> Task:
    """Give the opposite of a word."""
    pair = list(random.choice(pairs("opposites")))
    if random.random() < 0.4:
        pair.reverse()
    phrasings = (
        "What is the opposite of {word}?", "Opposite of {word}:", 'Give the antonym of "{word}".', "{word} is the opposite of?",
        "Name the opposite of the word {word}. One word only.",
    )  # fmt: skip
    return single(ask(random, phrasings, word=pair[0]), pair[1])


def plural(random: Random) -> Task:
    """Give the plural or the singular of a noun."""
    one, many = random.choice(pairs("plurals"))
    if random.random() < 0.7:
        phrasings = (
            "What is the plural of {word}?",
            "Plural of {word}:",
            "One {word}, two ...?",
            'Make "{word}" plural.',
        )
        return single(ask(random, phrasings, word=one), many)
    return single(ask(random, ("What is the singular of {word}?", "Singular of {word}:"), word=many), one)


def past_tense(random: Random) -> Task:
    """Give the past tense or the base form of a verb."""
    base, past = random.choice(pairs("past"))
    if random.random() < 0.7:
        phrasings = ("What is the past tense of {word}?", "Past tense of {word}:", "Today I {word}. Yesterday I ...?",
                     'Put "{word}" in the past tense.')  # fmt: skip
        return single(ask(random, phrasings, word=base), past)
    phrasings = ("Which verb has the past tense {word}?", "What is the base form of {word}?")
    return single(ask(random, phrasings, word=past), base)


def comparative(random: Random) -> Task:
    """Give the comparative of an adjective."""
    base, more = random.choice(pairs("comparatives"))
    phrasings = ("What is the comparative of {word}?", "{word}, and even ...?", 'Compare: "{word}" becomes?')
    return single(ask(random, phrasings, word=base), more)


def missing_word(random: Random) -> Task:
    """Choose the word that fits a gap, or fill in a gap from a sentence that is given."""
    if random.random() < 0.5:
        left, right = random.choice(pairs("opposites"))
        wrong = random.sample(words("nouns"), 2)
        options = [right, *wrong]
        random.shuffle(options)
        phrasings = ("It was not {left}, it was ___. Choose: {options}", "The opposite of {left} is ___. ({options})")
        return single(ask(random, phrasings, left=left, options=", ".join(options)), right)
    text = sentence(random, random.randint(5, 9))
    bare = text.rstrip(".").split()
    index = random.randrange(len(bare))
    gap = " ".join("___" if at == index else word for at, word in enumerate(bare)) + "."
    phrasings = (
        "{text}\nNow fill the gap: {gap}", "Whole: {text}\nWith a gap: {gap}\nWhich word is missing?",
        "Which word is missing in the second sentence? {text} {gap}",
    )  # fmt: skip
    return single(ask(random, phrasings, text=text, gap=gap), bare[index])


def article(random: Random) -> Task:
    """Choose between a and an."""
    word = random.choice(
        (*words(random.choice(("animals", "foods", "objects", "jobs"))), "egg", "orange", "apple", "owl", "ant")
    )
    phrasings = ('"a" or "an": ___ {word}', "Do we say a {word} or an {word}?", "Put a or an before {word}.")
    return single(ask(random, phrasings, word=word), f"{'an' if word[0] in 'aeiou' else 'a'} {word}")


def fact(random: Random) -> Task:
    """Answer a simple question of general knowledge."""
    question, answer = (part.strip() for part in random.choice(lines("questions")).split("|"))
    form = random.randrange(5)
    if form == 0:
        question = "Tell me: " + question[0].lower() + question[1:]
    elif form == 1:
        question = random.choice(
            ("Question: {0}\nAnswer:", "{0} Answer in one or two words.", "{0} Please be brief.")
        ).format(question)
    return single(question, answer if random.random() < 0.8 else f"{answer}.")


def unanswerable(random: Random) -> Task:
    """Say politely that a question cannot be answered."""
    question = fill(random, random.choice(lines("unanswerable")))
    question = random.choice(
        ("{0}", "{0}", "Tell me, {1}", "Do you know the answer? {0}", "I have a question. {0}")
    ).format(question, question[0].lower() + question[1:])
    return single(question, random.choice(lines("refusals")))


def composing(random: Random) -> Task:
    """Write a short sentence with given words."""
    noun, adjective = random.choice(words("nouns")), random.choice(words("adjectives"))
    name = random.choice(words("names"))
    forms = (
        (f"Write a sentence with the words {adjective} and {noun}.", f"The {noun} near the house was {adjective}."),
        (f"Use the word {noun} in a sentence.", f"{name} looked at the {noun} for a long time."),
        (f"Write a short sentence about {name} and a {noun}.", f"{name} saw a {noun} and smiled."),
        (f"Begin a story about a {adjective} {noun}.", f"Once upon a time there was a {adjective} {noun}."),
        (f"Make a question of this: The {noun} is {adjective}.", f"Is the {noun} {adjective}?"),
        (f"Say the opposite: The {noun} is {adjective}.", f"The {noun} is not {adjective}."),
    )
    prompt, answer = random.choice(forms)
    return single(prompt, answer)


FAMILIES: dict[Family, float] = {
    opposite: 1, plural: 0.8, past_tense: 0.8, comparative: 0.3, missing_word: 1, article: 0.3, fact: 1.5, unanswerable: 1,
    composing: 1,
}  # fmt: skip
