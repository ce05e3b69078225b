"""Losses against hand-written steps of the plain library in float64, and every objective from rows to a saved model."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, JambaConfig, PreTrainedModel

from metier.core.errors import NonFiniteError
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement, arrange
from metier.forest.attend import packed
from metier.forest.grow import grow
from metier.forest.way import ALONE, Way, probe
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.head import give_head
from metier.model.load import load_base
from metier.model.settings import ModelSettings
from metier.text.targets import Targets
from metier.train.loop import Arithmetic, step
from metier.train.objectives.classify import Headed
from metier.train.objectives.distil import Distil, divergence
from metier.train.objectives.regularised import BaseModel

CPU = Arithmetic(device=torch.device("cpu"))
WAY = Way()
EXACT = 1e-6
"""Relative, as in `test_step`: flash attention keeps its sums in float32."""
HEADS = {
    "classify": Targets(kind="classify", labels=("a", "b", "c")),
    "multilabel": Targets(kind="multilabel", labels=("a", "b", "c")),
    "regress": Targets(kind="regress", labels=("score",)),
}


def base_model(folder) -> PreTrainedModel:
    return load_base(find(str(folder), folder), device=torch.device("cpu"))


def headed(folder, kind: str) -> PreTrainedModel:
    """A model with a head that is not zero, so that its gradient reaches every weight."""
    model = give_head(base_model(folder), HEADS[kind]).double().requires_grad_(True)
    torch.manual_seed(5)
    torch.nn.init.normal_(model.get_submodule("score").weight, std=0.3)
    return model.train()


def rows(kind: str) -> list[Sequence]:
    random = np.random.default_rng(1)
    made = []
    for number, length in enumerate((12, 5, 9, 5, 7)):
        target = np.zeros(3, np.float32)
        target[number % 3] = 1
        if kind == "multilabel":
            target = (random.random(3) < 0.5).astype(np.float32)
        if kind == "regress":
            target = random.normal(size=1).astype(np.float32)
        weights = np.zeros(length + 1, np.float32)
        weights[-1] = 1
        ids = np.append(random.integers(3, 268, length), 2).astype(np.int32)
        made.append(Sequence(ids=ids, weights=weights, row_id=str(number), target=target))
    return made


def library_gradients(model: PreTrainedModel, sequences: list[Sequence]) -> tuple[float, dict[str, torch.Tensor]]:
    """The plain step: one padded batch, the library's own pooling and loss."""
    longest = max(len(sequence) for sequence in sequences) - 1
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    for place, sequence in enumerate(sequences):
        ids[place, : len(sequence) - 1] = torch.from_numpy(sequence.ids[:-1].astype(np.int64))
    wanted = torch.from_numpy(np.stack([sequence.target for sequence in sequences])).double()
    if model.config.problem_type == "single_label_classification":
        wanted = wanted.argmax(dim=1)
    loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=wanted).loss
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def forests(groups: list[list[Sequence]], way: Way = WAY) -> Arrangement:
    grown = [(tuple(range(len(group))), grow(group, share=way.packed)) for group in groups]
    return Arrangement(forests=tuple(grown))


def our_gradients(model, objective, work, way=WAY) -> tuple[float, dict[str, torch.Tensor]]:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with way.attention(model):
        log = step(model, objective, work, torch.optim.SGD(trained, lr=0.0), clip=0, arithmetic=CPU)
    return log.loss, {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


def difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(((first[name] - second[name]).norm() / (second[name].norm() + 1e-12)).item() for name in second)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_learns_as_the_library_would(kind, tiny_base):
    model, sequences = headed(tiny_base, kind), rows(kind)
    plain_loss, plain = library_gradients(model, sequences)
    for split in (1, 3):
        groups = [sequences[start::split] for start in range(split)]
        for way in (Way(), Way(labels_only=False), ALONE):
            loss, gradients = our_gradients(model, Headed(HEADS[kind].kind, way), forests(groups, way), way)
            assert loss == pytest.approx(plain_loss, rel=1e-12)
            assert difference(gradients, plain) <= EXACT


@pytest.mark.parametrize("kind", HEADS)
def test_prompts_that_begin_alike_are_read_once(kind, tiny_base):
    """Rows of one long beginning, one of them twice: a forest, and one that is cut into a trunk and branches."""
    model = headed(tiny_base, kind)
    begin = np.random.default_rng(4).integers(3, 268, 20)
    sequences = [
        Sequence(ids=np.concatenate((begin, each.ids)).astype(np.int32), weights=np.pad(each.weights, (20, 0)),
                 row_id=each.row_id, target=each.target)
        for each in [*rows(kind), rows(kind)[0]]
    ]  # fmt: skip
    plain_loss, plain = library_gradients(model, sequences)
    for budget in (1 << 20, 30):
        work = arrange(sequences, budget)
        assert work.computed < 0.5 * work.given
        assert bool(work.trunks) == (budget == 30)
        loss, gradients = our_gradients(model, Headed(HEADS[kind].kind), work)
        assert loss == pytest.approx(plain_loss, rel=1e-12)
        assert difference(gradients, plain) <= EXACT


def test_another_place_would_not_pass(tiny_base):
    """The planted fault: read one token earlier, the gradient is another one."""
    model, sequences = headed(tiny_base, "classify"), rows("classify")
    _, plain = library_gradients(model, sequences)
    wrong = [
        Sequence(ids=each.ids[:-1], weights=each.weights[1:], row_id=each.row_id, target=each.target)
        for each in sequences
    ]
    _, gradients = our_gradients(model, Headed("classify"), forests([wrong]))
    assert difference(gradients, plain) > 0.05


def test_rows_count_by_their_weight(tiny_base):
    model, sequences = headed(tiny_base, "regress"), rows("regress")
    doubled = [sequences[0], *sequences]
    heavier = Sequence(ids=sequences[0].ids, weights=2 * sequences[0].weights, row_id="w", target=sequences[0].target)
    first = our_gradients(model, Headed("regress"), forests([doubled]))[1]
    second = our_gradients(model, Headed("regress"), forests([[heavier, *sequences[1:]]]))[1]
    assert difference(first, second) <= EXACT


def test_a_model_with_a_head_is_probed_by_its_states(tiny_base):
    """A head of zeros says the same of any state: only the states show whether rows see one another."""
    way = probe(give_head(base_model(tiny_base), HEADS["classify"]))
    assert way.packed
    assert way.labels_only
    assert way.error < 1e-4


def test_a_head_on_layers_that_carry_state_is_computed_one_by_one():
    """The planted fault: a base whose rows would leak into one another."""
    config = JambaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_experts=1, attn_layer_period=2, attn_layer_offset=1, use_mamba_kernels=False,
        mamba_dt_rank=4, mamba_d_state=4, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = give_head(AutoModelForCausalLM.from_config(config).eval(), HEADS["classify"])
    way = probe(model)
    assert not way.packed
    assert way.error > 1e-2


# --- distillation ---------------------------------------------------------------------------------------------------


def pairs() -> list[Sequence]:
    random = np.random.default_rng(2)
    made = []
    begin = random.integers(3, 268, 20)
    for number, (long, short, answer) in enumerate(((9, 3, 4), (14, 0, 2), (6, 5, 3))):
        end = random.integers(3, 268, answer)
        sides = []
        for prompt in (long, short):
            ids = np.concatenate((begin, random.integers(3, 268, prompt), end)).astype(np.int32)
            weights = np.concatenate((np.zeros(20 + prompt), np.full(answer, 1.0 + number))).astype(np.float32)
            sides.append(Sequence(ids=ids, weights=weights, row_id=str(number)))
        made.append(Sequence(ids=sides[1].ids, weights=sides[1].weights, row_id=str(number), partner=sides[0]))
    return made


def explicit(student, teacher, sequences) -> torch.Tensor:
    """KL written out, row by row, through the library's own attention."""
    total = torch.zeros((), dtype=torch.float64)
    for sequence in sequences:
        logps = []
        for model, side in ((teacher, sequence.partner), (student, sequence)):
            ids = torch.from_numpy(side.ids.astype(np.int64))[None]
            places = torch.from_numpy(np.flatnonzero(side.weights) - 1)
            if side is sequence.partner:
                with torch.no_grad():
                    logps.append(torch.log_softmax(model(input_ids=ids).logits[0, places], dim=-1))
            else:
                logps.append(torch.log_softmax(model(input_ids=ids).logits[0, places], dim=-1))
        kl = (logps[0].exp() * (logps[0] - logps[1])).sum(dim=-1)
        total = total + (kl * float(sequence.weights[-1])).sum()
    return total / sum(float(sequence.weights.sum()) for sequence in sequences)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("way", [Way(), Way(labels_only=False), ALONE])
def test_distillation_is_the_divergence_written_out(method, way, tiny_base):
    base = find(str(tiny_base), tiny_base)
    settings = ModelSettings.model_validate({"method": method, "rank": 4})
    model = adapt(base_model(tiny_base), base, method, settings, seed=0).double().train()
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    teacher = base_model(tiny_base).double().requires_grad_(False)
    expected = explicit(model, teacher, pairs())
    model.zero_grad()
    expected.backward()
    plain = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    works = [forests([pairs()[:2], pairs()[2:]], way)]
    if way.packed:
        works += [arrange(pairs(), 1 << 20), arrange(pairs(), 25)]
        assert works[-1].trunks
    for work, budget in ((work, budget) for work in works for budget in (1 << 20, 30)):
        objective = Distil(BaseModel(model if method == "lora" else teacher, way), way, budget=budget)
        loss, gradients = our_gradients(model, objective, work, way)
        assert loss == pytest.approx(expected.item(), rel=1e-9)
        assert difference(gradients, plain) <= EXACT
    with way.attention(model):
        objective.loss(model.eval(), grow(pairs(), share=way.packed))
        assert not model.training, "nor does it make a model train that is being measured"
        model.train()
    assert model.training, "a teacher in evaluation mode leaves the student training"


def test_a_row_that_changes_how_others_are_computed_hangs_from_no_kept_prompt(tiny_base):
    """A prompt that is read alone has the angles of a short row; what is read behind it would have those of a long."""
    teacher = BaseModel(base_model(tiny_base), Way())
    partners = [
        Sequence(ids=np.r_[5:45, [number] * 6].astype(np.int32), weights=np.float32([0] * 43 + [1] * 3), row_id="")
        for number in (50, 60)
    ]
    assert Distil(teacher, Way(steady=46))._arranged(partners).trunks
    assert not Distil(teacher, Way(steady=40))._arranged(partners).trunks


def test_the_teacher_is_not_the_student(tiny_base):
    """The planted fault: a teacher that has the student's weights has nothing to teach behind the same prompt."""
    model = base_model(tiny_base).double()
    same = [Sequence(ids=p.ids, weights=p.weights, row_id=p.row_id, partner=p) for p in pairs()]
    objective = Distil(BaseModel(model, Way()))
    with packed(model), torch.no_grad():
        assert objective.loss(model, grow(same)).total.item() == pytest.approx(0, abs=1e-12)
        assert objective.loss(model, grow(pairs())).total.item() > 1e-3


def test_chunks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    wanted, said = torch.randn(2, 10, 30, dtype=torch.float64).log_softmax(dim=-1)
    whole = divergence(wanted, said)
    monkeypatch.setattr("metier.train.objectives.distil._CHUNK_LABELS", 3)
    assert torch.equal(divergence(wanted, said), whole)
    assert (whole > 0).all()


def test_the_teacher_reads_within_the_budget(tiny_base, monkeypatch):
    """Its prompts are longer than the student's, and what they share it reads once."""
    model = base_model(tiny_base)
    read: list[int] = []
    whole = BaseModel.log_probabilities

    def counted(self, forest):
        read.append(forest.tokens)
        return whole(self, forest)

    monkeypatch.setattr(BaseModel, "log_probabilities", counted)
    teacher = BaseModel(model, Way())
    with packed(model), torch.no_grad():
        for budget in (1 << 20, 24, 15):
            read.clear()
            Distil(teacher, budget=budget).loss(model, grow(pairs()))
            assert sum(read) + 20 * (len(read) > 1) == 20 + sum(p + a - 1 for p, a in ((9, 4), (14, 2), (6, 3)))
            assert max(read) <= budget
            assert (len(read) > 1) == (budget < 1 << 20)


def test_a_step_with_a_target_that_is_no_number_is_refused(tiny_base):
    model, sequences = headed(tiny_base, "regress"), rows("regress")
    sequences[0].target[0] = np.nan
    with pytest.raises(NonFiniteError):
        our_gradients(model, Headed("regress"), forests([sequences]))
