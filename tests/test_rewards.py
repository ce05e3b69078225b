"""The whole way of a project of tasks: from rows for a grader to a report, with the grader as the judge throughout."""

import json
import shutil
from pathlib import Path

import pytest

from metier import flow
from metier.core.errors import SettingsError
from metier.project import find_run
from metier.promote import reference
from metier.promote.far.sample import conversations
from metier.promote.wording import difference, read
from metier.text.asking import prompt
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.cli.workshop import opened

SETTINGS = """\
base: {base}
data: {{train: tasks.jsonl}}
prepare: {{test_share: 0.25, validation_share: 0.2, format: task}}
train:
  max_steps: 12
  rows_per_step: 4
  learning_rate: 0.01
  checks: 2
  threads: 1
  schedule: {{shape: constant}}
  objective:
    name: reinforce
    reinforce:
      grader: {{type: checker, path: grader.py, function: vowels}}
      answers: 12
      max_new_tokens: 6
evaluate: {{resampling: {{samples: 100}}, retention: false, worst: 3}}
"""
GRADER = "def vowels(output, reference, prompt):\n    return sum(c in 'aeiou' for c in output) / max(len(output), 3)\n"


@pytest.fixture(scope="module")
def done(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, flow.Outcome]:
    folder = tmp_path_factory.mktemp("vowels")
    (folder / "metier.yaml").write_text(SETTINGS.format(base=tiny_base), encoding="utf-8")
    (folder / "grader.py").write_text(GRADER, encoding="utf-8")
    tasks = [{"messages": [{"role": "user", "content": f"speak, {n}"}], "expected": f"aye {n}"} for n in range(60)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return folder, flow.run(opened(folder))


def test_the_report_tells_of_rewards(done):
    _, outcome = done
    chapters = {chapter.name: chapter.report for chapter in outcome.page.chapters}
    training = chapters["training"]
    assert "The mean reward of held-out prompts went from" in training.verdict.text
    titles = [figure.title for figure in training.figures]
    assert titles[:4] == ["Reward", "Spread of the rewards", "Length of the answers", "What there is to learn"]
    assert [series.name for series in training.figures[0].series] == ["training", "held out"]
    assert "vowels" in chapters["evaluation"].verdict.text.lower()


def test_the_grader_that_gave_rewards_judges_base_and_tuned_model(done):
    folder, outcome = done
    run = find_run(opened(folder), outcome.run.id)
    facts = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert facts["metric"] == {
        "value": "graded/mean/vowels", "reason": "the rows are tasks: the first grader decides",
    }  # fmt: skip
    assert facts["verdict"]["tuned"]["value"] > facts["verdict"]["base"]["value"]
    assert "loss" not in [metric["name"] for metric in facts["metrics"]], "a task has no answer to be surprised at"
    assert "exact_match" in [metric["name"] for metric in facts["metrics"]], "the column 'expected' is the right answer"


def test_the_certificate_is_of_what_the_model_itself_says(done):
    folder, outcome = done
    run = find_run(opened(folder), outcome.run.id)
    recorded = reference.read(run / "parity-reference")
    assert recorded.own_answers
    for index, sequence in enumerate(recorded.sequences):
        start = len(recorded.prompt_ids[index] or ())
        assert tuple(sequence.ids[:start]) == recorded.prompt_ids[index]
        said = recorded.logprobs(index).argmax(-1).tolist()
        assert said == sequence.ids[start:].tolist(), "greedy answers are what the model finds likeliest"
    wording = read(run, outcome.run.base.folder, recorded)
    assert difference(run / "model", wording, recorded) == ""
    for talk in conversations(run / "model", wording, recorded):
        assert talk.messages[-1]["role"] == "user"
        assert talk.prompt in recorded.prompt_ids


def test_a_prompt_that_renders_otherwise_breaks_it(done, tmp_path):
    """The planted fault: a template that says something else before the answer."""
    folder, outcome = done
    run = Path(shutil.copytree(find_run(opened(folder), outcome.run.id), tmp_path / "run"))
    recorded = reference.read(run / "parity-reference")
    wording = read(run, outcome.run.base.folder, recorded)
    template = run / "model" / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("<|assistant|>", "<|tool|>"), encoding="utf-8")
    assert "its prompt renders into other tokens" in difference(run / "model", wording, recorded)


def test_another_function_makes_another_run(done):
    folder, outcome = done
    place = opened(folder)
    snapshot = flow.prepare(place).path
    assert flow.locate(place, snapshot).id == outcome.run.id
    path = folder / "grader.py"
    path.write_text(GRADER + "# changed\n", encoding="utf-8")
    assert flow.locate(place, snapshot).id != outcome.run.id
    path.write_text(GRADER, encoding="utf-8")


def test_what_knows_no_rewards_says_so(done):
    folder, _ = done
    place = opened(folder)
    snapshot = flow.prepare(place).path
    run = flow.locate(place, snapshot)
    for work, words in (
        (lambda: flow.plan(place, run), "metier plan: the objective reinforce"),
        (lambda: flow.verify(place, run), "metier verify with train.objective reinforce"),
        (lambda: flow.sweep(place, snapshot), "metier sweep with the objective reinforce"),
    ):
        with pytest.raises(SettingsError, match=words):
            work()


def test_rows_are_shown_as_prompts(done):
    folder, _ = done
    place = opened(folder)
    found = flow.show(place, flow.locate(place, flow.prepare(place).path), 2)
    assert found.proof.ok
    for _, pieces in found.rows:
        assert [learnt for _, learnt in pieces] == [False]
        assert pieces[0][0].endswith("<|assistant|>")


def test_a_task_has_the_reference_of_its_column(done):
    folder, outcome = done
    rows = load_split(flow.prepare(opened(folder)).path, "test")
    found = prompt(rows[0], open_renderer(outcome.run.base.folder, TextSettings()))
    assert found.reference.startswith("aye ")
    assert found.text.endswith("<|assistant|>")
