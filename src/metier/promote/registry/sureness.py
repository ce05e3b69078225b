"""How sure a version is of its decisions: what was fitted when it was promoted, kept and told; imports no torch."""

from collections.abc import Mapping
from typing import Any

FILE = "calibration.json"
"""In a version; the server reads it there (`serve.calibrated`)."""

_KEPT = ("temperature", "rows", "split", "error_before", "error_after", "error_by_chance", "gain")


def facts(calibration: Mapping[str, Any] | None, why: str) -> dict[str, Any]:
    """Return what version.json says: the numbers beside the reason; without `temperature` nothing was fitted."""
    return {name: calibration[name] for name in _KEPT if calibration and name in calibration} | {"reason": why}


def told(version: Mapping[str, Any]) -> str:
    """Return in words what version.json says; empty: it was made before versions said it."""
    found = version.get("calibration")
    if found is None:
        return ""
    if "temperature" not in found:
        return f"not calibrated: {found['reason']}"
    chance = f"{found['error_by_chance']:.3f} would be chance alone"
    gain = found["gain"]
    helps = "" if gain["low"] > 0 else ", as no other is surely better"
    return (
        f"temperature {found['temperature']:.3f}{helps}; calibration error {found['error_before']:.3f} before, "
        f"{found['error_after']:.3f} after ({chance}) on {found['rows']:,} {found['split']} rows, each judged by the "
        f"half that it was not fitted with; {found['reason']}"
    )
