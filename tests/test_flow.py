import json
import shutil
from pathlib import Path

import pytest

from metier import flow
from metier.core import artefact
from metier.core.errors import DataError, InputError, ModelError, ParityError, SettingsError
from metier.project import find_run
from tests.cli.workshop import gone_the_whole_way, make_project, opened

STAGES = ["prepare", "train", "evaluate", "prove", "report"]


@pytest.fixture
def done(tiny_base) -> tuple[Path, flow.Outcome]:
    """A project that has gone the whole way."""
    return gone_the_whole_way(tiny_base)


@pytest.fixture
def copy(done, tmp_path) -> Path:
    """A copy of it that a test may harm."""
    return Path(shutil.copytree(done[0], tmp_path / "colours"))


@pytest.fixture
def fresh(tiny_base, tmp_path) -> Path:
    return make_project(tmp_path / "colours", tiny_base)


def skipped(outcome: flow.Outcome) -> list[str]:
    return [stage.name for stage in outcome.stages if stage.skipped]


def test_the_whole_way_leaves_a_report_with_a_chapter_for_each_question(done):
    folder, outcome = done
    assert [stage.name for stage in outcome.stages] == STAGES
    assert skipped(outcome) == []
    assert [chapter.name for chapter in outcome.page.chapters] == ["evaluation", "parity", "training", "data"]
    assert outcome.page.verdict == outcome.page.chapters[0].report.verdict
    html = outcome.stages[-1].path
    assert html.is_relative_to(folder / ".metier" / "runs" / outcome.run.id)
    assert "Is it better than the base?" in html.read_text()
    assert json.loads((html.parent / "report.json").read_text())["title"] == "colours"
    assert (html.parent / "report.md").read_text().startswith("# colours")
    artefact.verify(html.parent, "report")


def test_the_second_time_everything_is_skipped_and_says_why(done):
    folder, first = done
    place = opened(folder)
    outcome = flow.run(place)
    assert skipped(outcome) == STAGES
    assert outcome.run.id == first.run.id
    told = [line for line in place.progress.said if ": skipped, " in line]
    assert [line.partition(":")[0] for line in told] == STAGES


def test_another_way_of_evaluating_does_not_train_again(copy):
    outcome = flow.run(opened(copy, "--evaluate.confidence", "0.9"))
    assert skipped(outcome) == ["prepare", "train", "prove"]


def test_other_parity_limits_prove_again(copy):
    assert skipped(flow.run(opened(copy, "--promote.mean-kl", "0.5"))) == ["prepare", "train", "evaluate"]


@pytest.mark.parametrize("change", ["--train.learning-rate=0.02", "--seed=5", "--model.method=lora", "--text.system=x"])
def test_what_training_depends_on_names_another_run(done, change):
    folder, outcome = done
    place = opened(folder, change)
    found = flow.locate(place, flow.prepare(place).path)
    assert found.id != outcome.run.id
    assert not flow.is_trained(found.path)


def test_other_data_is_another_run(copy, done):
    with (copy / "chats.jsonl").open("a") as stream:
        stream.write((copy / "chats.jsonl").read_text().splitlines()[0].replace("item 0", "item 999") + "\n")
    place = opened(copy)
    stage = flow.prepare(place)
    assert not stage.skipped
    assert flow.locate(place, stage.path).id != done[1].run.id


def test_a_moved_project_finds_its_run_and_a_renamed_one_names_it_anew(copy, done):
    assert skipped(flow.run(opened(copy))) == STAGES
    place = opened(copy, "--name", "hues")
    assert flow.locate(place, flow.prepare(place).path).id == "hues-" + done[1].run.id.removeprefix("colours-")


def test_a_project_in_a_folder_of_another_name_trains_nothing_again(done, tmp_path):
    moved = Path(shutil.copytree(done[0], tmp_path / "tints"))
    outcome = flow.run(opened(moved))
    assert skipped(outcome)[:4] == STAGES[:4], "the page alone bears the new name"
    assert outcome.run.id == done[1].run.id


def test_a_moved_project_reads_its_own_snapshot(copy, done):
    settings = copy / ".metier" / "runs" / done[1].run.id / "settings.json"
    settings.write_text(settings.read_text().replace(str(done[0].resolve()), "/a/place/that/is/gone"))
    assert "/a/place/that/is/gone" in settings.read_text()
    place = opened(copy)
    run = flow.named(place, done[1].run.id)
    assert run.snapshot.is_relative_to(copy)
    shutil.rmtree(run.path / "parity")
    assert not flow.prove(place, run).skipped


def test_replayed_rows_count_by_their_content(copy):
    rows = copy / "general.jsonl"

    def run_id(*options: str) -> str:
        place = opened(copy, "--train.regularise.replay", "0.2", *options)
        return flow.locate(place, flow.prepare(place).path).id

    named = ("--train.regularise.replay-file", "general.jsonl")
    with pytest.raises(SettingsError, match=r"replay_file: no file .*general\.jsonl"):
        run_id(*named)
    rows.write_text('{"text": "The moon is far away."}\n')
    first = run_id(*named)
    assert first != run_id(), "bundled rows are other rows"
    rows.write_text('{"text": "The moon is near."}\n')
    assert run_id(*named) != first


def test_a_template_counts_by_its_content_not_by_its_place(copy):
    template = copy / "chat.jinja"

    def run_id(folder: Path) -> str:
        place = opened(folder, "--text.template", "chat.jinja")
        return flow.locate(place, flow.prepare(place).path).id

    template.write_text("{% for m in messages %}{{ m.content }}<|stop|>{% endfor %}")
    first = run_id(copy)
    assert run_id(Path(shutil.copytree(copy, copy.parent / "elsewhere" / "colours"))) == first
    template.write_text(template.read_text() + " ")
    assert run_id(copy) != first
    template.unlink()
    with pytest.raises(SettingsError, match=r"no file .*chat\.jinja"):
        run_id(copy)


def test_stages_that_need_a_trained_run_say_so_and_name_those_there_are(done, fresh):
    folder, outcome = done
    place = opened(folder, "--seed", "9")
    run = flow.locate(place, flow.prepare(place).path)
    for stage in (flow.evaluate, flow.prove, flow.report):
        with pytest.raises(InputError, match="not trained yet") as caught:
            stage(place, run)
        assert outcome.run.id in caught.value.found
        assert "metier train" in caught.value.do
        assert not run.path.exists()
    place = opened(fresh)
    with pytest.raises(InputError, match="not trained yet"):
        flow.evaluate(place, flow.locate(place, flow.prepare(place).path))


def test_a_report_before_the_evaluation_says_what_is_missing(copy, done):
    place = opened(copy)
    run = flow.locate(place, flow.prepare(place).path)
    for name in ("evaluation", "parity"):
        artefact.remove(run.path / name)
    page = flow.page_of_run(place, run)
    assert [chapter.name for chapter in page.chapters] == ["training", "data"]
    assert page.verdict.good is None
    assert "metier evaluate" in page.verdict.text


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_model_changed_behind_our_back_is_found_reported_and_refused(copy, done, name):
    path = copy / ".metier" / "runs" / done[1].run.id / "model" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    place = opened(copy)
    run = flow.locate(place, flow.prepare(place).path)
    with pytest.raises(ParityError, match="saved"):
        flow.prove(place, run)
    outcome = flow.run(place)
    assert isinstance(outcome.broken, ParityError)
    assert outcome.page.verdict.good is False
    assert "hop 'saved'" in outcome.page.verdict.text
    assert "✗" in outcome.stages[-1].path.read_text()


def test_a_stage_whose_result_was_deleted_or_half_written_is_done_again(copy, done):
    run = copy / ".metier" / "runs" / done[1].run.id
    (run / "evaluation" / "manifest.json").unlink()
    shutil.rmtree(run / "report")
    assert skipped(flow.run(opened(copy))) == ["prepare", "train", "prove"]


def test_comparisons(done):
    folder, outcome = done
    place = opened(folder)
    assert "identical" in flow.compare(place, outcome.run.id, outcome.run.id).verdict.text
    assert "identical" in flow.compare(place, "base", "base").verdict.text
    told = flow.compare(place, "base", "colours")
    assert told.verdict.good == outcome.page.chapters[0].report.verdict.good
    assert outcome.run.id in told.verdict.text


@pytest.mark.parametrize("name", ["nothing", "", "../colours", "colours-zz"])
def test_a_run_that_is_not_there_lists_those_that_are(done, name):
    folder, outcome = done
    with pytest.raises(InputError, match="no such run") as caught:
        find_run(opened(folder), name)
    assert outcome.run.id in caught.value.wanted


def test_a_beginning_that_fits_two_runs_is_refused(copy, done):
    (copy / ".metier" / "runs" / "colours-00000000").mkdir()
    with pytest.raises(InputError, match="2 runs begin like that"):
        find_run(opened(copy), "colours")
    assert find_run(opened(copy), done[1].run.id).name == done[1].run.id


def test_without_any_run_it_says_how_to_make_one(fresh):
    with pytest.raises(InputError) as caught:
        flow.compare(opened(fresh), "base", "x")
    assert "metier run" in caught.value.wanted


def test_showing_paints_rows_and_checks_all_of_them(done):
    folder, outcome = done
    place = opened(folder)
    shown = flow.show(place, outcome.run, 2)
    assert len(shown.rows) == 2
    source, pieces = shown.rows[0]
    assert source.startswith("chats.jsonl:")
    assert any(learnt and "<|stop|>" in text for text, learnt in pieces)
    assert shown.proof.ok


def test_faults_of_data_and_base_are_named_before_anything_is_trained(fresh):
    with pytest.raises(ModelError, match="metier-tny"):
        flow.run(opened(fresh, "--base", "metier-tny"))
    (fresh / "chats.jsonl").unlink()
    with pytest.raises(DataError, match=r"chats\.jsonl"):
        flow.run(opened(fresh))
    assert not (fresh / ".metier" / "runs").exists()


def test_what_is_made_is_hidden_from_git(done):
    assert (done[0] / ".metier" / ".gitignore").read_text() == "*\n"


def test_a_random_base_is_found_by_its_configuration(fresh, tiny_base):
    place = opened(fresh, "--base", f"{{config: {tiny_base}}}")
    run = flow.locate(place, flow.prepare(place).path)
    assert run.base.kind == "config"


def test_a_run_at_another_scale_is_proven_evaluated_and_told_like_any_other(copy):
    place = opened(copy)
    run = flow.locate(place, flow.prepare(place).path)
    made, stage = flow.rescale(place, run, 0.5)
    assert (made.id, stage.path) == (f"{run.id}-x0.5", made.path)
    assert flow.named(place, made.id) == made
    assert not flow.prove(place, made).skipped
    assert not flow.evaluate(place, made).skipped
    flow.report(place, made)
    chapters = {chapter.name: chapter.report for chapter in flow.page_of_run(place, made).chapters}
    assert dict(chapters["training"].facts)["scale"] == f"0.5 of {run.id}"
    assert flow.prove(place, flow.named(place, made.id)).skipped


def test_a_scale_needs_a_frontier_or_a_number(copy):
    place = opened(copy)
    with pytest.raises(DataError, match="no frontier"):
        flow.rescale(place, flow.locate(place, flow.prepare(place).path))
