"""Arithmetic, word problems, comparing and counting numbers."""

from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, single, words

SUMS = (
    "What is {sum}?", "Calculate {sum}.", "{sum} =", "Compute {sum}. Reply with the number only.", "How much is {sum}?",
    "Please work out {sum}.", "Give me the result of {sum}.", "Solve: {sum}", "Answer with a number: {sum}",
)  # fmt: skip


def calculation(random: Random) -> Task:
    """Add, subtract, multiply or divide small numbers."""
    kind = random.choice("++--*/")
    if kind == "+":
        left, right = random.randint(0, 99), random.randint(0, 60)
        spoken, result = f"{left} + {right}", left + right
    elif kind == "-":
        right, result = random.randint(0, 50), random.randint(0, 60)
        spoken = f"{right + result} - {right}"
    elif kind == "*":
        left, right = random.randint(0, 12), random.randint(0, 12)
        spoken, result = f"{left} {random.choice('*x')} {right}", left * right
    else:
        right, result = random.randint(1, 12), random.randint(1, 12)
        spoken = f"{right * result} / {right}"
    names = {" + ": " plus ", " - ": " minus ", " * ": " times ", " x ": " times ", " / ": " divided by "}
    if random.random() < 0.3:
        for sign, name in names.items():
            spoken = spoken.replace(sign, name)
    return single(ask(random, SUMS, sum=spoken), result)


def word_problem(random: Random) -> Task:
    """Solve a one-step or two-step story about things."""
    name, friend = random.sample(words("names"), 2)
    thing = random.choice(words("objects")) + "s"
    first, second = random.randint(2, 20), random.randint(1, 15)
    given = random.randint(1, first)
    stories = (
        (f"{name} has {first} {thing} and gets {second} more. How many {thing} does {name} have now?", first + second),
        (f"{name} has {first} {thing} and gives {given} to {friend}. How many {thing} are left?", first - given),
        (
            f"There are {first} {thing} on the table and {second} in the bag. How many {thing} are there?",
            first + second,
        ),
        (f"{name} buys {second} boxes with {first} {thing} each. How many {thing} is that?", first * second),
        (
            f"{name} had {first} {thing}, lost {given} and found {second}. How many {thing} does {name} have?",
            first - given + second,
        ),
        (f"{name} has {first} {thing}. {friend} has {second}. How many do they have together?", first + second),
    )
    story, result = random.choice(stories)
    if random.random() < 0.35:
        counted = f"{result} {thing if result != 1 else thing[:-1]}"
        return single(story, random.choice((counted, f"The answer is {result}.")))
    endings = ("", " Answer with the number only.", " Reply with a number.", " Just give the number.")
    return single(story + random.choice(endings), result)


def comparison(random: Random) -> Task:
    """Say which number is larger or smaller, or whether a claim about two numbers is true."""
    left, right = random.sample(range(200), 2)
    if random.random() < 0.4:
        larger = random.random() < 0.5
        phrase = random.choice(("larger", "greater", "bigger") if larger else ("smaller", "less"))
        answer = "yes" if (left > right) == larger else "no"
        return single(ask(random, YES_NO, left=left, right=right, phrase=phrase), answer)
    largest = random.random() < 0.5
    numbers = random.sample(range(200), random.randint(2, 5))
    listed = ", ".join(map(str, numbers))
    asked = random.choice(("largest", "biggest", "greatest", "highest") if largest else ("smallest", "lowest"))
    phrasings = (
        "Which number is the {asked}: {listed}?", "Find the {asked} of these numbers: {listed}",
        "{listed}\nWrite only the {asked} number.", "What is the {asked} number in this list? {listed}",
    )  # fmt: skip
    return single(ask(random, phrasings, asked=asked, listed=listed), max(numbers) if largest else min(numbers))


YES_NO = (
    "Is {left} {phrase} than {right}? Answer yes or no.", "Yes or no: {left} is {phrase} than {right}.",
    "Tell me yes or no. Is {left} {phrase} than {right}?",
)  # fmt: skip


def sequence(random: Random) -> Task:
    """Continue a sequence of numbers, count up or down, or tell the neighbour of a number."""
    start, step = random.randint(0, 40), random.choice((1, 1, 2, 3, 5, 10))
    numbers = [start + step * index for index in range(7)]
    if random.random() < 0.3:
        numbers.reverse()
    if random.random() < 0.5:
        shown = ", ".join(map(str, numbers[:4]))
        phrasings = ("What comes next? {shown}", "Continue with the next number: {shown}", "{shown}, ... What is next?")
        return single(ask(random, phrasings, shown=shown), numbers[4])
    end = start + random.randint(2, 9)
    counted = ", ".join(str(number) for number in range(start, end + 1))
    phrasings = ("Count from {start} to {end}.", "Write the numbers from {start} to {end}.", "List {start} to {end}.")
    return single(ask(random, phrasings, start=start, end=end), counted)


def parity(random: Random) -> Task:
    """Say whether a number is even or odd."""
    number = random.randint(0, 300)
    phrasings = (
        "Is {number} even or odd?", "Even or odd: {number}", "Answer with even or odd: {number}",
        "Tell me if {number} is an even or an odd number. One word only.",
    )  # fmt: skip
    return single(ask(random, phrasings, number=number), "odd" if number % 2 else "even")


def number_word(random: Random) -> Task:
    """Write a small number as a word or the other way round."""
    spelled = words("number_words")
    number = random.randrange(len(spelled))
    if random.random() < 0.5:
        phrasings = ("Write {number} as a word.", "Spell the number {number}.", "{number} in words?")
        return single(ask(random, phrasings, number=number), spelled[number])
    phrasings = (
        "Write {word} as digits.",
        "Which number is {word}?",
        "{word} in digits?",
        "Turn this into a number: {word}",
    )
    return single(ask(random, phrasings, word=spelled[number]), number)


FAMILIES: dict[Family, float] = {
    calculation: 3, word_problem: 2, comparison: 2, sequence: 1, parity: 0.5, number_word: 0.3,
}  # fmt: skip
