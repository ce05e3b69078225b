"""The gate: is this model good enough to go on? Every condition with its number, its limit and its reason; no torch.

The gate reads a stored evaluation, so it costs nothing and answers the same every time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from metier.core.errors import SettingsError
from metier.core.report import Report, Table, Verdict
from metier.evaluate.gate.settings import GateSettings
from metier.evaluate.production.tables import seconds
from metier.evaluate.wording import change, level
from metier.score import significance
from metier.score.metrics import metric_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of the gate: whether it holds, and what was found, in words."""

    name: str
    holds: bool
    told: str


def conditions(
    facts: Mapping[str, Any], settings: GateSettings, others: Sequence[Mapping[str, Any]] = ()
) -> list[Condition]:
    """Hold an evaluation against every condition; `others` are the opponents beside the base, see `against.read`.

    Raises:
        SettingsError: a metric of `gate.metrics` was not measured.
    """
    margin, unsure = facts["conditions"]["settings"]["margin"], settings.unsure
    found = [_required(facts["verdict"], settings.require, margin=margin, unsure=unsure)]
    for entry in others if settings.against != "nothing" else ():
        held = _required(entry["verdict"], settings.against, margin=margin, unsure=unsure)
        found.append(replace(held, name=f"against {entry['name']}"))
    if settings.least is not None:
        found.append(_reaches("least", facts["verdict"], settings.least))
    for name, limit in settings.metrics.items():
        found.append(_reaches(name, _metric(facts, name), limit))
    if settings.slices and facts["slices"]:
        found.append(_slices(facts))
    if settings.retention:
        found += _retention(facts, unsure=settings.unsure)
    probes = facts.get("probes") or {}
    if settings.bias:
        found += [_effect(entry, facts) for entry in probes.get("swaps", ())]
    if settings.safety:
        found += _safety(probes, facts)
    if settings.leaks and facts.get("leaked"):
        leaked = facts["leaked"]
        told = f"{leaked['rows']:,} rows that were trained on" + (
            f", first {leaked['sources'][0]}" if leaked["rows"] else ""
        )
        found.append(Condition(name="leaks", holds=not leaked["rows"], told=told))
    if settings.seconds_per_answer is not None:
        mean = facts["seconds"]["tuned"] / max(1, facts["conditions"]["rows"])
        told = f"{mean:.3f} s an answer, at most {settings.seconds_per_answer:g}"
        found.append(Condition(name="latency", holds=mean <= settings.seconds_per_answer, told=told))
    return [*found, *_production(facts, settings)]


def report(run: str, found: list[Condition]) -> Report:
    """Tell whether the gate is open, and what every condition found."""
    closed = [condition for condition in found if not condition.holds]
    text = (
        "open: every condition holds" if not closed else "closed: " + "; ".join(f"{c.name}: {c.told}" for c in closed)
    )
    rows = tuple((c.name, "holds" if c.holds else "does not hold", c.told) for c in found)
    return Report(
        title=f"Gate of {run}",
        verdict=Verdict(text=text, good=not closed),
        tables=(Table(title="Conditions", columns=("condition", "", "found"), rows=rows),),
        command="metier gate",
    )


def junit(run: str, found: list[Condition]) -> str:
    """Return the conditions as JUnit XML, for systems of continuous integration."""
    failures = sum(not condition.holds for condition in found)
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root, "testsuite", name="metier gate", tests=str(len(found)), failures=str(failures), errors="0"
    )
    for condition in found:
        case = ElementTree.SubElement(suite, "testcase", classname=f"metier.gate.{run}", name=condition.name)
        if not condition.holds:
            ElementTree.SubElement(case, "failure", message=condition.told)
        else:
            ElementTree.SubElement(case, "system-out").text = condition.told
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _production(facts: Mapping[str, Any], settings: GateSettings) -> list[Condition]:
    """Hold times and cost against their limits; a percentile whose upper end is open is unsure."""
    limits = {"latency": settings.latency_p95, "first_token": settings.first_token_p95}
    wanted = {name: limit for name, limit in limits.items() if limit is not None}
    measured = facts.get("production")
    if not wanted and settings.cost is None:
        return []
    if not measured:
        raise SettingsError(
            "gate: latency or cost was not measured", "a service that was timed", "set evaluate.production.requests"
        )
    found = []
    for name, limit in wanted.items():
        at = measured["tuned"]["levels"][-1]
        entry = at[name]["p95"]
        open_end = entry["high"] is None and settings.unsure
        holds = (entry["value"] if open_end else entry["high"] or math.inf) <= limit
        told = f"{seconds(entry)} for 95 of 100 with {at['together']} at once, at most {limit:g} s"
        found.append(Condition(name=f"{name.replace('_', ' ')} p95", holds=holds, told=told))
    if settings.cost is not None:
        cost = measured["tuned"]["cost"]
        if cost is None:
            raise SettingsError("gate.cost: no price is known", "your prices", "set evaluate.production.prices")
        told = f"{cost:.4g} for 1,000 requests, at most {settings.cost:g}"
        found.append(Condition(name="cost", holds=cost <= settings.cost, told=told))
    return found


def _required(verdict: Mapping[str, Any], wanted: str, *, margin: float, unsure: bool) -> Condition:
    """Hold a verdict against what is wanted: `better`, `not worse` or `nothing`."""
    word, name = verdict["verdict"], metric_of(verdict["name"]).title
    difference = verdict["difference"]
    told = f"{name} {word}, difference {change(verdict['name'], difference['value'])}"
    if wanted == "better":
        holds = word == "better"
    elif wanted == "not worse":
        better = metric_of(verdict["name"]).higher_is_better
        end = difference["low"] if better else difference["high"]
        shown = word == "identical" or (end is not None and (end if better else -end) >= -margin)
        holds = shown or (unsure and word == "cannot tell")
    else:
        holds = True
    return Condition(name="better" if wanted == "better" else "task", holds=holds, told=told)


def _metric(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for metric in facts["metrics"]:
        if name in (metric["name"], metric_of(metric["name"]).title):
            return metric
    known = ", ".join(metric_of(metric["name"]).title for metric in facts["metrics"])
    raise SettingsError(f"gate.metrics: '{name}' was not measured", f"one of {known}")


def _reaches(name: str, metric: Mapping[str, Any], limit: float) -> Condition:
    better = metric_of(metric["name"]).higher_is_better
    tuned = metric["tuned"]
    end = tuned["low"] if better else tuned["high"]
    end = tuned["value"] if end is None else end
    holds = end is not None and (end >= limit if better else end <= limit)
    shown = level(metric["name"], tuned["value"])
    wanted = f"{'at least' if better else 'at most'} {level(metric['name'], limit)}, interval included"
    return Condition(name=name, holds=holds, told=f"{shown} (to {level(metric['name'], end)}), wanted {wanted}")


def _slices(facts: Mapping[str, Any]) -> Condition:
    """Hold that no slice is worse, by tests adjusted so that one false alarm among them keeps its level."""
    better = metric_of(facts["verdict"]["name"]).higher_is_better
    limit = 1 - facts["conditions"]["settings"]["confidence"]
    values = [_p_of_loss(entry, better) for entry in facts["slices"]]
    worse = [
        f"{entry['slice']} {change(entry['name'], entry['difference']['value'])}"
        for entry, p in zip(facts["slices"], significance.holm(values), strict=True)
        if p <= limit
    ]
    told = f"worse: {', '.join(worse)}" if worse else f"none of {len(facts['slices'])} is shown to be worse"
    return Condition(name="slices", holds=not worse, told=told)


def _p_of_loss(entry: Mapping[str, Any], higher_is_better: bool) -> float:
    value = entry["difference"]["value"]
    if entry["p"] is None or value is None or not math.isfinite(value):
        return 1.0
    return entry["p"] if (value < 0) == higher_is_better and value != 0 else 1.0


def _retention(facts: Mapping[str, Any], *, unsure: bool) -> list[Condition]:
    found = []
    allowed = ("kept", "cannot tell") if unsure else ("kept",)
    if facts.get("retention"):
        word = facts["retention"]["verdict"]
        difference = facts["retention"]["metrics"][0]["difference"]["value"]
        told = f"{word}, loss {change('loss', difference)}"
        found.append(Condition(name="retention: general text", holds=word in allowed, told=told))
    for entry in facts.get("suites") or ():
        if not entry.get("of_bias"):
            told = f"{entry['kept']}, {change('accuracy', entry['difference']['value'])}"
            found.append(Condition(name=f"retention: {entry['suite']}", holds=entry["kept"] in allowed, told=told))
    return found


def _effect(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Condition:
    """Hold that what was swapped has no effect on right answers, or none that the base does not have as well."""
    limit = 1 - facts["conditions"]["settings"]["confidence"]
    effect, base = (entry[name]["difference"]["value"] or 0.0 for name in ("effect", "base_effect"))
    shown = entry["effect"]["p"] is not None and entry["effect"]["p"] <= limit and abs(effect) > abs(base)
    told = (
        f"{change('accuracy', effect)} between the versions (base {change('accuracy', base)}), {entry['pairs']} pairs"
    )
    return Condition(name=f"bias: {entry['kind']}", holds=not shown, told=told)


def _safety(probes: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Condition]:
    limit = 1 - facts["conditions"]["settings"]["confidence"]
    found = []
    if injection := probes.get("injection"):
        worse = _p_of_loss(injection, higher_is_better=False) <= limit
        shares = [level("accuracy", injection[name]["value"]) for name in ("tuned", "base")]
        told = f"obeyed in {shares[0]} (base {shares[1]})"
        found.append(Condition(name="safety: hidden commands", holds=not worse, told=told))
    if toxic := probes.get("toxicity"):
        worse = _p_of_loss(toxic, higher_is_better=False) <= limit
        shares = [level("accuracy", toxic[name]["value"]) for name in ("tuned", "base")]
        found.append(Condition(name="safety: toxicity", holds=not worse, told=f"{shares[0]} (base {shares[1]})"))
    if canaries := probes.get("canaries"):
        told = f"the most exposed of {len(canaries['canaries'])}: p = {canaries['p']:.3f} without memory"
        found.append(Condition(name="safety: planted secrets", holds=canaries["p"] > limit, told=told))
    if memory := probes.get("memorisation"):
        said = set(memory["tuned"]["personal"]) - set(memory["base"]["personal"])
        told = f"{len(said)} addresses or numbers of training rows said to others"
        found.append(Condition(name="safety: personal data", holds=not said, told=told))
    return found
