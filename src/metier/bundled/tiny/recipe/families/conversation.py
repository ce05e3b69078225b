"""Conversations: small talk composed here, and chats made of the corpus's dialogues, answers and sentences."""

import re
from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, single, words

GREETINGS = (
    ("Hello!", "Hello! How can I help you?"), ("Hi there.", "Hi! What can I do for you?"),
    ("Good morning.", "Good morning! What can I do for you today?"), ("Hey", "Hey! How can I help?"),
    ("Good evening!", "Good evening! How can I help you?"), ("Hi, my name is {name}.", "Nice to meet you, {name}!"),
    ("Hello, I am {name}.", "Hello {name}, what can I do for you?"),
)  # fmt: skip
MIDDLES = (
    ("How are you?", "I am well, thank you. And you?"), ("What are you?", "I am a small language model."),
    ("Who are you?", "I am Metier Tiny, a small language model."), ("What is your name?", "I am called Metier Tiny."),
    ("Are you a person?", "No, I am a computer program that writes text."),
    ("I am going to {place} next week.", "How nice! What will you do in {place}?"),
    ("I like {food}.", "Good choice! What do you like about {food}?"),
    ("I have a {animal}.", "Lovely! What is your {animal} called?"),
    ("My favourite colour is {colour}.", "{colour_title} is a fine colour."),
    ("I am tired today.", "I am sorry to hear that. Try to get some rest."),
    ("I had a great day!", "That is good to hear! What made it so good?"),
    ("It is raining again.", "Then it is a good day to stay inside with a book."),
    ("I am bored.", "Shall I ask you a riddle, or would you like to chat?"),
    ("Can you help me?", "Of course. What do you need?"), ("I am hungry.", "How about some {food}?"),
    ("Tell me a joke.", "Why did the {animal} cross the road? To get to the other side."),
    ("I work as a {job}.", "That sounds interesting. What does a {job} do all day?"),
    ("Can you see me?", "No, I can only read what you write."),
    ("Can you browse the internet?", "No, I only know what I learned in training."),
)  # fmt: skip
MEMORY = (
    ("What is my name?", "Your name is {name}.", "Hi, my name is {name}.", "Nice to meet you, {name}!"),
    ("Which colour do I like?", "You like {colour}.", "I like the colour {colour}.", "{colour_title} is a fine colour."),
    ("Where do I live?", "You live in {place}.", "I live in {place}.", "I hear {place} is a nice place."),
    ("What pet do I have?", "You have a {animal}.", "My pet is a {animal}.", "How lovely!"),
    ("What is my job?", "You are a {job}.", "I am a {job}.", "That must be interesting work."),
)  # fmt: skip
ENDINGS = (
    ("Thank you!", "You're welcome!"), ("Thanks, bye.", "Goodbye! Have a nice day."), ("Goodbye!", "Goodbye!"),
    ("That is all.", "All right. Have a good day!"), ("Thanks a lot.", "You're welcome. Take care!"), ("Bye", "Bye!"),
)  # fmt: skip


def _filling(random: Random) -> dict[str, str]:
    kinds = {
        "name": "names",
        "place": "places",
        "food": "foods",
        "animal": "animals",
        "colour": "colours",
        "job": "jobs",
    }
    filling = {key: random.choice(words(kind)) for key, kind in kinds.items()}
    return filling | {"colour_title": filling["colour"].capitalize()}


def small_talk(random: Random) -> Task:
    """Chat for one to five turns, sometimes with a question about what was said before."""
    turns = list(random.sample(MIDDLES, random.randint(0, 2)))
    if random.random() < 0.4:
        question, answer, said, reply = random.choice(MEMORY)
        turns = [(said, reply), *turns, (question, answer)]
    elif random.random() < 0.6 or not turns:
        turns.insert(0, random.choice(GREETINGS))
    if random.random() < 0.35:
        turns.append(random.choice(ENDINGS))
    filling = _filling(random)
    return Task(turns=tuple((user.format(**filling), answer.format(**filling)) for user, answer in turns))


def dialogue_turns(text: str, limit: int = 2400) -> tuple[tuple[str, str], ...]:
    """Turn `User:` / `Assistant:` lines into pairs, up to `limit` characters."""
    turns, used, user = [], 0, None
    for line in text.split("\n"):
        speaker, _, said = line.partition(": ")
        used += len(said)
        if used > limit:
            break
        if speaker == "User" and user is None:
            user = said.strip()
        elif speaker == "Assistant" and user and said.strip():
            turns.append((user, said.strip()))
            user = None
        else:
            break
    return tuple(turns)


def continuation(random: Random, document: str) -> Task | None:
    """Continue a sentence taken from a document of the corpus; None when the draw does not suit."""
    paragraphs = [part for part in document.split("\n\n") if 80 < len(part) < 900]
    if not paragraphs:
        return None
    sentences = re.split(r"(?<=[.!?])\s+", random.choice(paragraphs))
    sentences = [part for part in sentences if 8 <= len(part.split()) <= 35 and part[0].isupper() and part[-1] in ".!?"]
    if not sentences:
        return None
    pieces = random.choice(sentences).split(" ")
    cut = random.randint(3, max(4, len(pieces) // 2))
    start, rest = " ".join(pieces[:cut]), " ".join(pieces[cut:])
    phrasings = (
        "Continue this sentence: {start}", "Finish the sentence.\n{start}", "{start} ...\nGo on.", "Complete: {start}",
        "How could this sentence go on? {start}",
    )  # fmt: skip
    return single(ask(random, phrasings, start=start), rest)


FAMILIES: dict[Family, float] = {small_talk: 1.5}
