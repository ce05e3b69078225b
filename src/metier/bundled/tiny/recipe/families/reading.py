"""Reading questions over composed stories: yes or no, who, where, what, and short rewriting."""

from dataclasses import dataclass
from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, single, words


@dataclass(frozen=True)
class Event:
    """Somebody did something with a thing in a room."""

    who: str
    verb: str
    colour: str
    thing: str
    room: str

    def told(self) -> str:
        """Return the event as a sentence."""
        return f"{self.who} {self.verb} the {self.colour} {self.thing} in the {self.room}."


VERBS = ("found", "lost", "dropped", "hid", "cleaned", "painted", "broke", "left", "saw", "took")


def _events(random: Random, count: int) -> list[Event]:
    people = random.sample(words("names"), count)
    things = random.sample(words("objects"), count)
    rooms = random.sample(words("rooms"), count)
    colours = [random.choice(words("colours")) for _ in range(count)]
    return [
        Event(who, random.choice(VERBS), colour, thing, room)
        for who, colour, thing, room in zip(people, colours, things, rooms, strict=True)
    ]


FRAMES = ("{story}\n{question}", "Story: {story}\nQuestion: {question}", "Read this. {story}\n\n{question}",
          "{question}\n{story}", "Text: {story}\nQ: {question}\nA:")  # fmt: skip


def yes_or_no(random: Random) -> Task:
    """Answer yes or no about a story."""
    events = _events(random, random.randint(1, 4))
    event, other = random.choice(events), random.choice(events)
    truth = random.random() < 0.5
    thing, room = event.thing, event.room
    if not truth:
        if random.random() < 0.5 and other.room != room:
            room = other.room
        else:
            room = random.choice([name for name in words("rooms") if name != room])
    question = random.choice((f"Was the {thing} in the {room}?", f"Was {event.who} in the {room}?"))
    question += random.choice(("", " Answer yes or no.", " Yes or no?"))
    prompt = ask(random, FRAMES, story=" ".join(item.told() for item in events), question=question)
    return single(prompt, "yes" if truth else "no")


def detail(random: Random) -> Task:
    """Answer who, what, where or which colour about a story."""
    events = _events(random, random.randint(1, 4))
    event = random.choice(events)
    question, answer = random.choice(
        (
            (f"Who {event.verb} the {event.thing}?", event.who),
            (f"Where was the {event.thing}?", f"in the {event.room}"),
            (f"What colour was the {event.thing}?", event.colour),
            (f"Where was {event.who}?", f"in the {event.room}"),
            (f"Who was in the {event.room}?", event.who),
            (f"What was in the {event.room}?", f"the {event.colour} {event.thing}"),
        )
    )
    return single(ask(random, FRAMES, story=" ".join(item.told() for item in events), question=question), answer)


def not_said(random: Random) -> Task:
    """Say that the story does not tell."""
    events = _events(random, random.randint(1, 3))
    absent = random.choice([name for name in words("names") if all(name != event.who for event in events)])
    question = random.choice((f"Where was {absent}?", f"What did {absent} do?", f"How old is {events[0].who}?"))
    answer = random.choice(("The text does not say.", "That is not said in the text.", "I cannot tell from this text."))
    return single(ask(random, FRAMES, story=" ".join(item.told() for item in events), question=question), answer)


def heights(random: Random) -> Task:
    """Draw a conclusion from comparisons."""
    tall, middle, small = random.sample(words("names"), 3)
    more, most, least = random.choice(
        (("taller", "tallest", "shortest"), ("older", "oldest", "youngest"), ("faster", "fastest", "slowest"))
    )
    story = [f"{tall} is {more} than {middle}.", f"{middle} is {more} than {small}."]
    random.shuffle(story)
    question, answer = random.choice(
        ((f"Who is the {most}?", tall), (f"Who is the {least}?", small), (f"Is {tall} {more} than {small}?", "yes"),
         (f"Is {small} {more} than {middle}?", "no"))
    )  # fmt: skip
    return single(ask(random, FRAMES, story=" ".join(story), question=question), answer)


def shortening(random: Random) -> Task:
    """Shorten a sentence, or replace a name or a word in it."""
    event = _events(random, 1)[0]
    new = random.choice([name for name in words("names") if name != event.who])
    forms = (
        (f"Make this shorter: {event.told()}", f"{event.who} {event.verb} the {event.thing}."),
        (f"Replace {event.who} by {new}: {event.told()}", event.told().replace(event.who, new, 1)),
        (
            f"Say it without the colour: {event.told()}",
            f"{event.who} {event.verb} the {event.thing} in the {event.room}.",
        ),
        (
            f"Turn this into a title: {event.told()}",
            f"{event.who} and the {event.colour.title()} {event.thing.title()}",
        ),
    )
    prompt, answer = random.choice(forms)
    return single(prompt, answer)


FAMILIES: dict[Family, float] = {yes_or_no: 2, detail: 3, not_said: 0.8, heights: 0.8, shortening: 0.8}
