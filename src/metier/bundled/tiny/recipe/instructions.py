"""Generates the instruction rows: seeded, deterministic, in OpenAI's chat format, one JSON object a line."""

import argparse
import json
from collections import Counter
from pathlib import Path
from random import Random

from metier.bundled.tiny.recipe import sources
from metier.bundled.tiny.recipe.configuration import SPECIAL_TOKENS
from metier.bundled.tiny.recipe.families import (
    arithmetic,
    classification,
    conversation,
    json_tasks,
    language,
    reading,
    text_operations,
)
from metier.bundled.tiny.recipe.families.framing import Family, Task

MODULES = {
    "arithmetic": (arithmetic, 1.6),
    "text operations": (text_operations, 1.8),
    "json": (json_tasks, 2.6),
    "classification": (classification, 3.4),
    "language": (language, 1.5),
    "reading": (reading, 1.6),
    "small talk": (conversation, 0.5),
}
SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are a helpful, brief assistant.", "Answer as briefly as you can.",
    "You answer questions.", "Follow the instruction.", "Reply with the answer only.", "You are Metier Tiny.",
    "Do exactly what the user asks.", "Be short and exact.", "You are a friendly assistant.", "Help the user.",
    "Give short answers.", "You are a careful assistant who follows instructions.", "Below is a task. Solve it.",
)  # fmt: skip
JSON_SYSTEM_PROMPTS = (
    "Answer with valid JSON only.", "You output JSON.", "Reply with JSON and nothing else.", "Only JSON, no explanation.",
    "You are a program that returns JSON.",
)  # fmt: skip
FREE_SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are a friendly assistant.", "Help the user.", "You answer questions.",
    "You are a polite assistant.",
)  # fmt: skip
DIALOGUE_SHARE, CONTINUATION_SHARE, CHAINED_SHARE = 0.09, 0.04, 0.08
LONGEST_ANSWER = 1200


def general_prompts(task: Task, random: Random) -> tuple[str, ...]:
    """Return the system prompts that suit the kind of answers a task has."""
    if task.is_free_text:
        return FREE_SYSTEM_PROMPTS
    return JSON_SYSTEM_PROMPTS if task.is_json and random.random() < 0.6 else SYSTEM_PROMPTS


def to_row(task: Task, random: Random) -> dict:
    """Return the chat of a task; a task without a system prompt of its own gets a general one half of the time."""
    system = task.system
    if system is None and random.random() < 0.45:
        system = random.choice(general_prompts(task, random))
    messages = [{"role": "system", "content": system}] if system else []
    for user, assistant in task.turns:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"messages": messages}


def check_task(task: Task) -> None:
    """Refuse a task with an empty turn, a special token in its text, or an answer that should be JSON and is not."""
    for user, assistant in task.turns:
        if not user.strip() or not assistant.strip():
            raise ValueError(f"empty turn: {task}")
        if any(token in user + assistant for token in SPECIAL_TOKENS):
            raise ValueError(f"special token in text: {task}")
        if task.is_json:
            json.loads(assistant)


def generated_task(random: Random) -> tuple[str, Task]:
    """Draw a family by weight and a task of it; some tasks are two of them in one conversation."""
    name = random.choices(list(MODULES), [weight for _, weight in MODULES.values()])[0]
    families: dict[Family, float] = MODULES[name][0].FAMILIES
    task = random.choices(list(families), list(families.values()))[0](random)
    if random.random() < CHAINED_SHARE and not task.system and not task.is_json:
        _, other = generated_task(random)
        if not other.system and not other.is_json and len(other.turns) + len(task.turns) <= 4:
            task = Task(turns=task.turns + other.turns)
            name = "chained"
    return name, task


def corpus_tasks(corpus: Path, rows: int, random: Random) -> list[tuple[str, Task]]:
    """Return tasks made of the corpus: short instructions, dialogues and sentences to continue."""
    tasks = []
    for row in sources.split_rows(corpus, sources.SHORT_INSTRUCTIONS)[0]:
        if row["instruction"].strip() and 0 < len(row["response"].strip()) <= LONGEST_ANSWER:
            turn = (row["instruction"].strip(), row["response"].strip())
            tasks.append((sources.SHORT_INSTRUCTIONS, Task(turns=(turn,), is_free_text=True)))
    random.shuffle(tasks)
    del tasks[rows // 10 :]
    dialogues = [conversation.dialogue_turns(text) for text in sources.read_texts(corpus, sources.DIALOGUES)]
    dialogues = [turns for turns in dialogues if len(turns) >= 2]
    chosen = random.sample(dialogues, min(len(dialogues), int(rows * DIALOGUE_SHARE)))
    tasks += [(sources.DIALOGUES, Task(turns=turns, is_free_text=True)) for turns in chosen]
    documents = sources.read_texts(corpus, sources.TEXTBOOKS) + sources.read_texts(corpus, sources.BOOKS)
    wanted = len(tasks) + int(rows * CONTINUATION_SHARE)
    while len(tasks) < wanted:
        task = conversation.continuation(random, random.choice(documents))
        if task is not None:
            tasks.append(("continuation", task))
    return tasks


def generate(corpus: Path, rows: int, seed: int) -> tuple[list[dict], Counter]:
    """Return the shuffled rows and how many there are of each family; no two rows are the same."""
    random = Random(f"metier-tiny instructions {seed}")
    result, counts, seen = [], Counter(), set()
    pending = corpus_tasks(corpus, rows, random)
    while len(result) < rows:
        name, task = pending.pop() if pending else generated_task(random)
        check_task(task)
        row = to_row(task, random)
        key = json.dumps(row)
        if key in seen:
            continue
        seen.add(key)
        counts[name] += 1
        result.append(row)
    random.shuffle(result)
    return result, counts


def main() -> None:
    """Write the rows and print how many there are of each family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows, counts = generate(options.corpus, options.rows, options.seed)
    sources.write_jsonl(options.out, rows)
    print(json.dumps(dict(counts.most_common()), indent=2))


if __name__ == "__main__":
    main()
