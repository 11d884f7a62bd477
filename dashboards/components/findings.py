"""How a finding of the runaway guard stands, as a badge."""

from typing import Any

from ingest.guard.models import GuardFinding

WENT_ON = ("went on", "ok")
STATES = {"told": ("told", "warn"), "went_on": WENT_ON, "past": ("in the past", "")}


def state_of(found: Any) -> tuple[str, str]:
    """The text and tone of a finding with `is_standing`; one whose freeze was ended elsewhere went on as well."""
    if found.state == GuardFinding.State.STOPPED:
        return ("stopped", "ice") if found.is_standing else WENT_ON
    return STATES[found.state]
