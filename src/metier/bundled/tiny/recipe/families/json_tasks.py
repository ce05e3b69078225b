"""Tasks about JSON: extracting fields, looking up keys, formatting lists and repairing objects."""

from collections.abc import Callable
from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, single, to_json, words

NUMBER_FIELDS = ("age", "count", "price", "year", "size", "weight")
WORD_FIELDS = {
    "name": "names", "city": "places", "colour": "colours", "pet": "animals", "job": "jobs", "food": "foods",
    "day": "days", "month": "months", "room": "rooms", "item": "objects", "vehicle": "vehicles", "tool": "tools",
}  # fmt: skip


def _value(random: Random, key: str) -> object:
    if key in NUMBER_FIELDS:
        return random.randint(1, 99)
    if key in WORD_FIELDS:
        return random.choice(words(WORD_FIELDS[key]))
    return random.random() < 0.5


def _record(random: Random, size: int) -> dict[str, object]:
    keys = random.sample([*NUMBER_FIELDS, *WORD_FIELDS, "new", "paid", "open", "ready"], size)
    return {key: _value(random, key) for key in keys}


def key_lookup(random: Random) -> Task:
    """Give the value of one key of an object."""
    record = _record(random, random.randint(2, 5))
    key = random.choice(list(record))
    phrasings = (
        'What is the value of "{key}"? {json}', "{json}\nGive me the {key}.", "Read this JSON and tell me {key}: {json}",
        "Look up {key} in {json}", 'Here is an object:\n{json}\nReply with the value of "{key}" only.',
    )  # fmt: skip
    value = record[key]
    return single(
        ask(random, phrasings, key=key, json=to_json(record)), value if isinstance(value, str) else to_json(value)
    )


def key_list(random: Random) -> Task:
    """List the keys of an object, or say whether it has a key."""
    record = _record(random, random.randint(2, 5))
    if random.random() < 0.5:
        phrasings = ("List the keys of this object: {json}", "{json}\nWhich keys are there?", "Keys of {json}?")
        return single(ask(random, phrasings, json=to_json(record)), ", ".join(record))
    key = random.choice([*record, *WORD_FIELDS])
    phrasings = ('Does this object have the key "{key}"? {json}', "{json}\nIs there a key {key}? Answer yes or no.")
    return single(ask(random, phrasings, key=key, json=to_json(record)), "yes" if key in record else "no")


def list_to_json(random: Random) -> Task:
    """Write a list as a JSON array."""
    if random.random() < 0.3:
        items: list = random.sample(range(100), random.randint(2, 5))
    else:
        items = random.sample(
            words(random.choice(("animals", "foods", "colours", "names", "objects"))), random.randint(2, 5)
        )
    mark = random.choice((", ", "\n", " and ", "; "))
    phrasings = (
        "Write this list as a JSON array: {listed}", "Turn into JSON: {listed}", "{listed}\nFormat as a JSON list.",
        "Give me a JSON array of these items: {listed}", "JSON array, please: {listed}",
    )  # fmt: skip
    return single(ask(random, phrasings, listed=mark.join(map(str, items))), to_json(items), is_json=True)


def pairs_to_json(random: Random) -> Task:
    """Write lines of `key: value` as an object."""
    record = _record(random, random.randint(1, 5))
    sign = random.choice((": ", " = ", " is "))
    shown = {key: value if isinstance(value, str) else to_json(value) for key, value in record.items()}
    listed = random.choice(("\n", ", ", "; ")).join(f"{key}{sign}{value}" for key, value in shown.items())
    phrasings = (
        "Write this as JSON: {listed}", "Convert to a JSON object.\n{listed}", "{listed}\n\nMake a JSON object of it.",
        "Turn these fields into JSON:\n{listed}", "Output JSON for: {listed}",
    )  # fmt: skip
    return single(ask(random, phrasings, listed=listed), to_json(record), is_json=True)


def change_json(random: Random) -> Task:
    """Add, remove, change or select keys of an object."""
    record = _record(random, random.randint(2, 4))
    key = random.choice(list(record))
    kind = random.randrange(4)
    changed = dict(record)
    if kind == 0:
        del changed[key]
        change = ask(random, ('Remove the key "{key}".', "Delete {key}.", "Drop the field {key}."), key=key)
    elif kind == 1:
        changed[key] = _value(random, key)
        change = ask(
            random, ("Set {key} to {value}.", "Change {key} to {value}."), key=key, value=to_json(changed[key])
        )
    elif kind == 2:
        new = random.choice([name for name in WORD_FIELDS if name not in record])
        changed[new] = _value(random, new)
        change = ask(random, ('Add the key "{key}" with the value {value}.', "Add {key} = {value}."), key=new,
                     value=to_json(changed[new]))  # fmt: skip
    else:
        changed = {key: record[key]}
        change = ask(random, ('Keep only the key "{key}".', "Return only {key} as JSON."), key=key)
    order = random.random() < 0.5
    prompt = f"{change}\n{to_json(record)}" if order else f"{to_json(record)}\n{change}"
    return single(prompt, to_json(changed), is_json=True)


def _person(random: Random) -> tuple[str, dict[str, object]]:
    name, place, job = (random.choice(words(kind)) for kind in ("names", "places", "jobs"))
    age = random.randint(8, 90)
    texts = (
        f"{name} is {age} years old and lives in {place}.", f"My friend {name}, aged {age}, comes from {place}.",
        f"At {age}, {name} still works in {place}.", f"{name} ({age}) has a house in {place}.",
    )  # fmt: skip
    return f"{random.choice(texts)} {name} works as a {job}.", {"name": name, "age": age, "city": place, "job": job}


def _purchase(random: Random) -> tuple[str, dict[str, object]]:
    name, item, day = (random.choice(words(kind)) for kind in ("names", "objects", "days"))
    count, price = random.randint(2, 20), random.randint(1, 99)
    texts = (
        f"On {day} {name} bought {count} {item}s for {price} coins.",
        f"{name} paid {price} coins on {day} for {count} {item}s.",
        f"{count} {item}s were sold to {name} on {day}; the price was {price} coins.",
    )
    return random.choice(texts), {"buyer": name, "item": item, "count": count, "price": price, "day": day}


def _meeting(random: Random) -> tuple[str, dict[str, object]]:
    first, second = random.sample(words("names"), 2)
    room, day, hour = random.choice(words("rooms")), random.choice(words("days")), random.randint(7, 20)
    texts = (
        f"{first} meets {second} on {day} at {hour} in the {room}.",
        f"Meeting in the {room}, {day}, {hour} o'clock: {first} and {second}.",
        f"See you in the {room} on {day} at {hour}, {second}! Yours, {first}",
    )
    return random.choice(texts), {"room": room, "day": day, "hour": hour}


def _pet(random: Random) -> tuple[str, dict[str, object]]:
    name, owner = random.sample(words("names"), 2)
    animal, colour = random.choice(words("animals")), random.choice(words("colours"))
    texts = (
        f"{owner} has a {colour} {animal} called {name}.", f"The {colour} {animal} of {owner} answers to {name}.",
        f"{name} is a {colour} {animal}. It belongs to {owner}.",
    )  # fmt: skip
    return random.choice(texts), {"animal": animal, "colour": colour, "name": name, "owner": owner}


def _journey(random: Random) -> tuple[str, dict[str, object]]:
    start, goal = random.sample(words("places"), 2)
    vehicle, month, hours = random.choice(words("vehicles")), random.choice(words("months")), random.randint(2, 30)
    texts = (
        f"In {month} we go from {start} to {goal} by {vehicle}; it takes {hours} hours.",
        f"The {vehicle} from {start} needs {hours} hours to reach {goal}. We leave in {month}.",
    )
    return random.choice(texts), {"from": start, "to": goal, "vehicle": vehicle, "month": month, "hours": hours}


SCENES: tuple[Callable[[Random], tuple[str, dict[str, object]]], ...] = (_person, _purchase, _meeting, _pet, _journey)


def extraction(random: Random) -> Task:
    """Extract fields from a sentence into JSON."""
    text, record = random.choice(SCENES)(random)
    keys = random.sample(list(record), random.randint(1, len(record)))
    missing = [key for key in ("email", "height", "phone") if random.random() < 0.06]
    wanted = {key: record[key] for key in keys} | dict.fromkeys(missing)
    named = ", ".join(random.sample(list(wanted), len(wanted)) if random.random() < 0.1 else wanted)
    rule = (
        random.choice((" Use null for what is not said.", " If something is missing, write null.")) if missing else ""
    )
    phrasings = (
        "Extract {keys} as JSON.{rule}\n{text}", "{text}\n\nReturn a JSON object with the keys {keys}.{rule}",
        "Fill in JSON with these keys: {keys}.{rule} Text: {text}", "Get {keys} from this text as JSON:{rule} {text}",
        "Read the text and answer with JSON ({keys}).{rule}\n\nText: {text}",
    )  # fmt: skip
    wanted = {key: wanted[key] for key in named.split(", ")}
    if random.random() < 0.3:
        system = ask(random, SYSTEM_RULES, keys=named, rule=rule)
        return Task(turns=((text, to_json(wanted)),), system=system, is_json=True)
    return single(ask(random, phrasings, keys=named, text=text, rule=rule), to_json(wanted), is_json=True)


SYSTEM_RULES = (
    "Answer every message with a JSON object that has the keys {keys}.{rule}",
    "Extract {keys} from what the user writes and reply with JSON only.{rule}",
    "You turn text into JSON. Keys: {keys}.{rule}",
)


def field_question(random: Random) -> Task:
    """Answer a question about one detail of a sentence in plain words."""
    text, record = random.choice(SCENES)(random)
    key = random.choice(list(record))
    phrasings = (
        "{text}\nWhat is the {key}?", "Text: {text}\nField: {key}\nValue:", "Find the {key} in this text: {text}",
        "Read: {text} Reply with the {key} only.",
    )  # fmt: skip
    return single(ask(random, phrasings, text=text, key=key), record[key])


FAMILIES: dict[Family, float] = {
    key_lookup: 2, key_list: 0.7, list_to_json: 1, pairs_to_json: 1.5, change_json: 1, extraction: 3, field_question: 1.5,
}  # fmt: skip
