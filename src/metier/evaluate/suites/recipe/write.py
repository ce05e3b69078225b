"""Write the shipped suites anew: `python -m metier.evaluate.suites.recipe.write`; the same every time."""

from pathlib import Path

from metier.evaluate.suites.recipe import knowledge, language, tasks

SHIPPED = Path(__file__).parents[1] / "shipped"


def texts() -> dict[str, str]:
    """Return every suite as JSON Lines, by its name."""
    facts = [{"ask": asked, "right": right, "wrong": wrong} for asked, right, *wrong in knowledge.FACTS]
    suites = {
        "facts": facts,
        "arithmetic": tasks.sums(),
        "grammar": language.pairs(),
        "reading": knowledge.readings(),
        "turns": tasks.conversations(),
        "instructions": tasks.instructions(),
        "json": tasks.values(),
        "refusals": tasks.requests(),
    }
    return {name: tasks.lines(list(entries)) for name, entries in suites.items()}


if __name__ == "__main__":
    SHIPPED.mkdir(exist_ok=True)
    for name, text in texts().items():
        (SHIPPED / f"{name}.jsonl").write_text(text, encoding="utf-8")
