"""Are our checks of IFEval's instructions those of lm-evaluation-harness? `python -m bench.ifeval`.

Runs in the environment `lm-eval` (`python -m bench.environments lm-eval`). No model is asked: what is compared are the
verdicts on the same answers, instruction by instruction, on every row of the benchmark. The answers are made to pass
some checks and to fail others. The harness splits sentences by data of nltk that must be downloaded; without them its
rule for numbers of sentences is left out and counted, and its words are nltk's, taken without that data.
"""

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bench import environments
from bench.places import REPOSITORY, shared

_INSIDE = "METIER_BENCH_INSIDE"
_SENTENCES = "length_constraints:number_sentences"
_LETTERS = "keywords:letter_frequency"
"""Where the letter is a sign such as #, the harness draws another by chance at every look."""


def main() -> None:
    """Start again inside the environment, then compare."""
    if _INSIDE not in os.environ:
        command = [str(environments.build("lm-eval")), "-m", "bench.ifeval"]
        environment = dict(os.environ) | {_INSIDE: "1", "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
        raise SystemExit(subprocess.run(command, check=False, env=environment, cwd=REPOSITORY).returncode)
    path = shared() / "data" / "ifeval" / "input_data.jsonl"
    print(json.dumps(compare([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])))


def compare(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Let both judge every answer to every row; returns counts, the harness's verdicts, and the first that differ."""
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval import instructions_registry, instructions_util
    from nltk.tokenize import NLTKWordTokenizer

    from metier.score import constraints

    DetectorFactory.seed = 0
    instructions_util.nltk.word_tokenize = NLTKWordTokenizer().tokenize
    given: dict[str, list[bool]] = {}
    differ = []
    for row, kind, raw in judged(rows):
        for answer in answers(row):
            theirs = _theirs(instructions_registry.INSTRUCTION_DICT[kind](kind), raw, row["prompt"], answer)
            given.setdefault(kind, []).append(theirs)
            if theirs != constraints.follows(kind, answer, dict(raw) | {"kind": kind}):
                differ.append({"key": row["key"], "kind": kind, "theirs": theirs, "answer": answer[:120]})
    instructions = sum(len(row["instruction_id_list"]) for row in rows)
    return {
        "rows": len(rows), "kinds": len(given), "verdicts": sum(map(len, given.values())),
        "passed": sum(map(sum, given.values())), "differ": len(differ),
        "by kind": dict(Counter(entry["kind"] for entry in differ)), "first": differ[:12],
        "instructions left out": instructions - sum(1 for _ in judged(rows)),
        "kinds of one verdict only": sorted(kind for kind, found in given.items() if len(set(found)) == 1),
        "verdicts of the harness": {kind: told(found) for kind, found in sorted(given.items())},
    }  # fmt: skip


def judged(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Yield row, kind and arguments of each instruction that can be compared."""
    for row in rows:
        for kind, raw in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            drawn = kind == _LETTERS and not str(raw["letter"]).isalpha()
            if kind != _SENTENCES and not drawn:
                yield row, kind, raw


def told(verdicts: Sequence[bool]) -> str:
    """Return how many pass of how many, and a digest of which."""
    digest = hashlib.sha256(bytes(verdicts)).hexdigest()[:16]
    return f"{sum(verdicts)} of {len(verdicts)} {digest}"


def _theirs(instruction: Any, raw: dict[str, Any], prompt: str, answer: str) -> bool:
    """Return the harness's verdict, found as its `test_instruction_following_strict` finds it."""
    instruction.build_description(**{name: value for name, value in raw.items() if value})
    arguments = instruction.get_instruction_args()
    if arguments and "prompt" in arguments:
        instruction.build_description(prompt=prompt)
    return bool(answer.strip() and instruction.check_following(answer))


def answers(row: dict[str, Any]) -> Iterator[str]:
    """Yield answers that follow some instructions of a row, and some that follow none."""
    prompt = row["prompt"]
    given_all = row["kwargs"]
    words = [
        str(word) for given in given_all for name in ("keywords", "forbidden_words") for word in given.get(name) or ()
    ]
    named = ("keyword", "letter", "first_word")
    words += [str(given[name]) for given in given_all for name in named if given.get(name)]
    ends = [str(given["end_phrase"]) for given in given_all if given.get("end_phrase")]
    repeat = [str(given["prompt_to_repeat"]) for given in given_all if given.get("prompt_to_repeat")]
    plain = "The quick brown fox jumps over the lazy dog, again and again. "
    yield from (prompt, prompt.upper(), prompt.lower(), f'"{prompt}"', "", "  ", "My answer is yes.", "NO")
    yield f"<<A title>>\n\n{plain * 3}\n\nP.S. Write soon. P.P.S. Or later."
    yield f"* one *high* point\n* two\n- three **light** here\n\n***\n\n{plain * 12} [name] [address] [date]"
    yield '```json\n{"a": 1}\n```'
    yield '{"a": [1, 2]}'
    yield f"{plain}******{plain * 2}"
    yield f"SECTION 1\n{plain}\nSECTION 2\n{plain}\nSection 3\n{plain}"
    yield " ".join(words * 3) + f" {plain * 8}" + "".join(ends)
    yield "\n\n".join([f"{' '.join(words)} {plain}"] * 4) + "\n" + "".join(ends)
    yield "".join(repeat) + "\n" + plain * 40
    yield "Der schnelle braune Fuchs springt über den faulen Hund und läuft davon"
    yield "एक तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर से कूदती है"
    yield "\n".join(f"{number}. {plain.upper()}" for number in range(1, 8))


if __name__ == "__main__":
    main()
