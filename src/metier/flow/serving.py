"""What a server will load of what a training makes, asked before it is trained."""

from metier.core import extras
from metier.flow.found import Run
from metier.model.contract import GGUF_TARGETS, of_settings, require
from metier.project import Place
from metier.text.rows import load_split
from metier.text.tokenizer import Tokenizer
from metier.train import views


def require_servable(place: Place, run: Run) -> None:
    """Refuse a training whose result `serve.target` would not load; without a target nothing is asked.

    Raises:
        SettingsError: with what is in the way and what to change.
        ModelError: the base cannot become a GGUF file, which is what llama.cpp and Ollama load.
    """
    target = place.project.serve.target
    if target is None:
        return
    from metier.model.adapt import resolve
    from metier.model.stored import stored_parameters

    base, plan = run.base, run.plan
    method, _ = resolve(stored_parameters(base.folder) or 0, base, plan.model)
    head = views.head_of(views.choose(plan.train.objective, load_split(run.snapshot, "train")).value)
    ids = Tokenizer.load(base.folder).vocabulary
    require(target, place.project.promote.deploy, of_settings(base, plan.model, method, head=head, ids=ids))
    if target not in GGUF_TARGETS:
        return
    if extras.missing("gguf"):
        place.progress.say(f"whether {base.name} can become a GGUF file is not known: {extras.install_line('gguf')}")
        return
    from metier.promote.export.gguf.model import require_writable

    require_writable(base.folder)
