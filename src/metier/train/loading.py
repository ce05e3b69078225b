"""From a base to a model that trains: loaded, given a head, adapted, quantised; with the choices that this takes."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.forest.way import ALONE, Way, probe
from metier.model.adapt import adapt, choose_method, count_parameters, stays_as_stored
from metier.model.arithmetic import rates
from metier.model.configuration import read_config
from metier.model.find import Base
from metier.model.head import give_head, require_method
from metier.model.load import device_here, load_base
from metier.model.quantise.freeze import dequantise, described, quantise, require_possible
from metier.model.quantise.half import HalfLinear
from metier.model.settings import ModelSettings
from metier.model.ways import ia3
from metier.model.ways.virtual import unpackable
from metier.train import choices, head_start
from metier.train.material import Material
from metier.train.plan import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A base with what trains in it, how it is computed, and the choices that depended on it."""

    model: torch.nn.Module
    way: Way
    chosen: list[Reasoned]


def bare(base: Base, settings: TrainingPlan) -> PreTrainedModel:
    """Load a base where it will be trained; one to be quantised stays on the CPU until then.

    Raises:
        SettingsError: this quantisation does not go with the method or the machine.
    """
    device, quantisation = device_here(), settings.model.quantise
    require_possible(quantisation, settings.model.method, device)
    return load_base(
        base,
        device=device if quantisation == "none" else torch.device("cpu"),
        seed=settings.seed,
        as_stored=quantisation != "none" or _may_stay(base, settings.model, device),
    )


def _may_stay(base: Base, settings: ModelSettings, device: torch.device) -> bool:
    """Tell whether a base may be computed as it is stored: frozen, and in bfloat16 as its products."""
    if settings.method in ("full", "layers"):
        return False
    width = read_config(base.folder).get_text_config().hidden_size
    return choices.precision(settings, device, width=width, kept={}, measure=rates).value == "bfloat16"


def adapted(
    model: PreTrainedModel, base: Base, settings: TrainingPlan, material: Material, progress: Progress, *, run: Path
) -> Loaded:
    """Adapt a loaded base, in place, and choose what depends on it; what `run` has chosen before is not chosen anew."""
    device, quantisation = device_here(), settings.model.quantise
    parameters = count_parameters(model)
    method, method_choice = choose_method(model, base, settings.model)
    if material.view.targets is not None:
        require_method(method, settings.model)
    precision = choices.precision(settings.model, device, width=_width(model), kept=choices.kept(run), measure=rates)
    stays = stays_as_stored(method, settings.model, bfloat16=precision.value == "bfloat16")
    if material.view.targets is not None or not stays:
        dequantise(model)
    chosen = [
        material.view.choice,
        method_choice,
        *(ia3.reasoned(model, base, settings.model) if method == "ia3" else []),
        precision,
        *([choices.quantise(settings.model, rates)] if quantisation != "none" else []),
        choices.learning_rate(
            settings.train, method, parameters, prefers=material.view.prefers, rewards=material.view.rewards
        ),
        *([choices.no_leaps()] if material.view.rewards else []),
        choices.shape(settings.train),
        choices.epochs(settings.train, material.trained_rows, plain_text=material.plain_text),
    ]
    if material.view.targets is not None:
        model = give_head(model, material.view.targets)
        rows = (material.train, material.validation)
        chosen.append(head_start.start(model, material.view.targets.kind, run, rows=rows, progress=progress))
    tuned = adapt(model, base, method, settings.model, seed=settings.seed)
    way, how = _way(tuned)
    chosen.append(how)
    trained = count_parameters(tuned, trained_only=True)
    whole = count_parameters(tuned)
    tuned = quantise(tuned, quantisation, device)
    if quantisation == "none" and any(isinstance(layer, HalfLinear) for layer in tuned.modules()):
        progress.say("the frozen linear layers stay in bfloat16, as they are stored: products are computed in it")
    if quantisation != "none":
        progress.say(described(tuned, quantisation))
    if settings.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    share = 100 * trained / whole
    progress.say(f"{trained / 1e6:.2f} million of {whole / 1e6:.2f} million numbers train ({share:.1f} %)")
    return Loaded(model=tuned, way=way, chosen=chosen)


def _width(model: PreTrainedModel) -> int:
    return model.config.get_text_config().hidden_size


def _way(model: torch.nn.Module) -> tuple[Way, Reasoned]:
    """Find out how an adapted model is computed: what was added to the base may mix rows, or change its head."""
    if reason := unpackable(model):
        return ALONE, Reasoned(name="forest", value="one by one", reason=reason)
    way = probe(model)
    return way, way.reasoned()
