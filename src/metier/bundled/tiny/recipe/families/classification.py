"""Sorting messages of toy domains into labels: the label alone, or a small JSON object."""

from random import Random

from metier.bundled.tiny.recipe.families.framing import Family, Task, ask, domains, fill, single, to_json, words

LABEL_ONLY = (
    "Classify the message as one of: {labels}. Reply with the label only.\n\n{text}",
    "Which label fits best: {labels}?\n{text}",
    "Message: {text}\nLabels: {labels}\nLabel:",
    "Read the message and answer with one of these words: {labels}.\nMessage: {text}",
    "{text}\n\nPick one: {labels}",
    "Choose the {slot} ({labels}) for this text: {text}",
    "What is the {slot} here? Options: {labels}. {text}",
)
LABEL_SYSTEMS = (
    "You sort messages. Answer with exactly one of these labels: {labels}.",
    "Classify each message by its {slot}: {labels}. Reply with the label only.",
    "Reply to every message with one word: {labels}.",
    "You label {about}. Labels for {slot}: {labels}.",
)
JSON_PROMPTS = (
    "Read the text and fill in this JSON object.\n{schema}\n\n{text}",
    "{text}\n\nAnswer with a JSON object with these keys:\n{schema}",
    "Label the message as JSON. Keys and values:\n{schema}\nMessage: {text}",
    "Return JSON only. Fields: {schema}\nText: {text}",
)
JSON_SYSTEMS = (
    "You read {about} and answer with JSON only. Keys:\n{schema}",
    "For each message return a JSON object with these fields: {schema}",
    "Label every message. Reply with one JSON object.\n{schema}",
    "Answer with JSON and nothing else. {schema}",
)
KEY_FORMS = ("{0}", "{0}", "{0}", "{0}_label", "the_{0}", "{0}_type", "{0}_value", "kind_of_{0}")
ALIASES = {
    "sky": ("sky", "weather", "outside"), "opinion": ("opinion", "sentiment", "verdict"), "action": ("action", "do"),
    "transport": ("transport", "by", "vehicle"), "kind": ("kind", "animal", "species"), "mark": ("mark", "grade", "outcome"),
    "feeling": ("feeling", "mood"), "result": ("result", "outcome", "score"), "subject": ("subject", "lesson"),
    "excited": ("excited", "happy_about_it"), "adopted": ("adopted", "has_home"), "finished": ("finished", "done"),
    "late": ("late", "overdue"), "meat": ("meat", "has_meat"), "homework": ("homework", "has_homework"),
    "now": ("now", "at_once"), "injury": ("injury", "someone_hurt"), "plant": ("plant", "which_plant"),
}  # fmt: skip


def _message(random: Random, slots: dict[str, dict], chosen: list[str]) -> tuple[str, dict[str, str]]:
    labels = {slot: random.choice(list(slots[slot])) for slot in chosen}
    sentences = [fill(random, random.choice(slots[slot][label])) for slot, label in labels.items()]
    random.shuffle(sentences)
    return " ".join(sentences), labels


def _domain(random: Random) -> tuple[str, dict[str, dict]]:
    content = random.choice(list(domains().values()))
    return content["about"], {name: slot for name, slot in content.items() if name != "about"}


def one_label(random: Random) -> Task:
    """Answer with the one label of a message; the labels stand in the prompt or in the system prompt."""
    about, slots = _domain(random)
    chosen = random.sample(list(slots), random.randint(1, len(slots)))
    text, labels = _message(random, slots, chosen)
    slot = chosen[0]
    names = list(slots[slot])
    label = labels[slot]
    if set(names) == {"true", "false"}:
        rename = random.choice(({"true": "yes", "false": "no"}, {"true": "true", "false": "false"}))
        names, label = [rename[name] for name in names], rename[label]
    random.shuffle(names)
    values = {"labels": random.choice((", ", " / ", " or ", " | ")).join(names), "slot": slot.replace("_", " ")}
    if random.random() < 0.4:
        system = ask(random, LABEL_SYSTEMS, about=about, **values)
        return Task(turns=((text, label),), system=system)
    return single(ask(random, LABEL_ONLY, text=text, **values), label)


def several_messages(random: Random) -> Task:
    """Label one message after another in one conversation, by a rule in the system prompt."""
    about, slots = _domain(random)
    slot = random.choice([name for name in slots if "true" not in slots[name]])
    names = random.sample(list(slots[slot]), len(slots[slot]))
    system = ask(random, LABEL_SYSTEMS, about=about, labels=", ".join(names), slot=slot)
    turns = []
    for _ in range(random.randint(2, 4)):
        text, labels = _message(random, slots, [slot])
        turns.append((text, labels[slot]))
    return Task(turns=tuple(turns), system=system)


def by_example(random: Random) -> Task:
    """Label a message from labelled examples alone."""
    _, slots = _domain(random)
    slot = random.choice([name for name in slots if "true" not in slots[name]])
    first, second = random.choice((("Message", "Label"), ("Text", "Answer"), ("Input", "Output")))
    lines = []
    for label in random.sample(list(slots[slot]), len(slots[slot])):
        lines.append(f"{first}: {fill(random, random.choice(slots[slot][label]))}\n{second}: {label}")
    text, labels = _message(random, slots, [slot])
    return single("\n".join(lines) + f"\n{first}: {text}\n{second}:", labels[slot])


def _schema(random: Random, slots: dict[str, dict], keys: dict[str, str]) -> str:
    options = {}
    for slot, key in keys.items():
        names = list(slots[slot])
        boolean = set(names) == {"true", "false"}
        options[key] = "true or false" if boolean else random.choice((" | ", ", ", " or ")).join(names)
    style = random.randrange(4)
    if style == 0:
        return "{" + ", ".join(f'"{key}": {option}' for key, option in options.items()) + "}"
    if style == 1:
        return "\n".join(f"- {key}: {option}" for key, option in options.items())
    if style == 2:
        return "; ".join(f"{key} ({option})" for key, option in options.items())
    return "\n".join(f'"{key}" is one of {option}' for key, option in options.items())


def json_labels(random: Random) -> Task:
    """Answer with a JSON object of two to five fields that label a message."""
    about, slots = _domain(random)
    mentioned = random.sample(list(slots), random.randint(2, len(slots)))
    text, labels = _message(random, slots, mentioned)
    asked = random.sample(mentioned, random.randint(2, len(mentioned)))
    form = random.choice(KEY_FORMS)
    keys = {slot: form.format(random.choice(ALIASES.get(slot, (slot,)))) for slot in asked}
    booleans = {"true": True, "false": False}
    answer: dict[str, object] = {key: booleans.get(labels[slot], labels[slot]) for slot, key in keys.items()}
    schema = _schema(random, slots, keys)
    if len(asked) < 5 and random.random() < 0.15:
        answer["words"] = len(text.split())
        schema += random.choice(("\nwords: the number of words", "; words (a number)"))
    if random.random() < 0.6:
        system = ask(random, JSON_SYSTEMS, about=about, schema=schema)
        return Task(turns=((text, to_json(answer)),), system=system, is_json=True)
    return single(ask(random, JSON_PROMPTS, schema=schema, text=text), to_json(answer), is_json=True)


def json_one_field(random: Random) -> Task:
    """Answer with a JSON object of one label."""
    about, slots = _domain(random)
    slot = random.choice(list(slots))
    text, labels = _message(random, slots, [slot])
    key = random.choice(ALIASES.get(slot, (slot,)))
    answer = {key: {"true": True, "false": False}.get(labels[slot], labels[slot])}
    schema = _schema(random, slots, {slot: key})
    return single(ask(random, JSON_PROMPTS, schema=schema, text=text, about=about), to_json(answer), is_json=True)


GROUPS = {
    "animal": "animals", "food": "foods", "colour": "colours", "tool": "tools", "clothing": "clothes", "job": "jobs",
    "vehicle": "vehicles", "furniture": "furniture", "instrument": "instruments", "place": "places", "day": "days",
    "month": "months", "name": "names",
}  # fmt: skip


def word_group(random: Random) -> Task:
    """Say what kind of thing a word is, or which word does not belong."""
    group = random.choice(list(GROUPS))
    others = random.sample([name for name in GROUPS if name != group], random.randint(1, 3))
    if random.random() < 0.3:
        odd = random.choice(words(GROUPS[others[0]]))
        listed = [*random.sample(words(GROUPS[group]), 3), odd]
        random.shuffle(listed)
        phrasings = (
            "Which word does not belong? {listed}",
            "Find the odd one out: {listed}",
            "{listed}\nWhich is different?",
        )
        return single(ask(random, phrasings, listed=", ".join(listed)), odd)
    labels = [group, *others]
    random.shuffle(labels)
    word = random.choice(words(GROUPS[group]))
    phrasings = (
        "What is {word}? Choose from: {labels}", "Which group does {word} belong to: {labels}?", "{word}: {labels}?",
        "Put {word} into one of these groups: {labels}. Answer with the group only.",
    )  # fmt: skip
    return single(ask(random, phrasings, word=word, labels=", ".join(labels)), group)


FAMILIES: dict[Family, float] = {
    one_label: 4, several_messages: 1.5, by_example: 1, json_labels: 5, json_one_field: 1, word_group: 1.5,
}  # fmt: skip
