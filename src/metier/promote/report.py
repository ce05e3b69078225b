"""The parity certificate as a Report; imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.report import Cell, Report, Table, Verdict


def read(run: Path) -> dict[str, Any]:
    """Return the content of a run's parity.json.

    Raises:
        DataError: the run has no certificate, or it was changed since it was written.
    """
    artefact.verify(run / "parity", "parity")
    return artefact.read_json(run / "parity" / "parity.json")


def report(run: Path) -> Report:
    """Tell a run's parity certificate: whether what was saved, reloaded and merged answers as what was trained.

    Raises:
        DataError: the run has no certificate.
    """
    certificate = read(run)
    return Report(
        title=f"Parity of {run.name}",
        verdict=verdict(certificate),
        facts=_facts(certificate),
        tables=(table(certificate),),
        command="metier prove",
    )


def verdict(certificate: dict[str, Any]) -> Verdict:
    """Say in one sentence whether the certificate holds; "cannot tell" where training changed next to nothing."""
    broken = next((hop for hop in certificate["hops"] if not hop["ok"]), None)
    if broken is not None:
        return Verdict(text=f"Broken at hop '{broken['name']}': {broken['detail']}", good=False)
    if _moved_little(certificate):
        text = "Every hop holds, but training moved the model too little for that to mean much."
        return Verdict(text=text, good=None)
    names = " = ".join(hop["name"] for hop in certificate["hops"])
    return Verdict(text=f"What serves is what trained: {names}.", good=True)


def _moved_little(certificate: dict[str, Any]) -> bool:
    moved = certificate["from_base"]
    if moved is None or moved["largest_kl"] is None:
        return False
    return moved["largest_kl"] <= certificate["limits"]["largest_kl"]


def table(certificate: dict[str, Any]) -> Table:
    """One line a hop."""
    limits = certificate["limits"]
    note = (
        "KL of the next token, trained model against the hop, on the run's own rows."
        f" Limits: largest {limits['largest_kl']:g}, mean {limits['mean_kl']:g} nats,"
        f" same next token {limits['least_agreement']:.0%}; of quantised and served hops, promote.rounded."
    )
    return hop_table("Parity", certificate["hops"], note)


def hop_table(title: str, hops: Sequence[Mapping[str, Any]], note: str) -> Table:
    """One line a hop, as plain values."""
    columns = (
        "hop", "holds", "largest KL (nats)", "mean KL (nats)", "same next token", "answers right", "stops", "labels",
        "detail",
    )  # fmt: skip
    return Table(title=title, columns=columns, rows=tuple(_line(hop) for hop in hops), note=note)


def _line(hop: Mapping[str, Any]) -> tuple[Cell, ...]:
    agreement = hop["greedy_agreement"]
    return (
        hop["name"],
        "yes" if hop["ok"] else "NO",
        hop["largest_kl"],
        hop["mean_kl"],
        None if agreement is None else f"{agreement:.2%}",
        *(None if hop.get(name) is None else f"{hop[name]:.0%}" for name in ("right", "stops")),
        hop["tokens"] or None,
        hop["detail"],
    )


def _facts(certificate: dict[str, Any]) -> tuple[tuple[str, Cell], ...]:
    moved = certificate["from_base"]
    distance = f"mean KL {moved['mean_kl']:.3g} nats" if moved and moved["mean_kl"] is not None else "not measured"
    return (("base", certificate["base"]), ("training moved the model by", distance), ("device", certificate["device"]))
