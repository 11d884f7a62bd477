"""How policies and chains read: plain sentences for pages, answers and notices, from plain values."""

from collections.abc import Mapping, Sequence

from governance.approvals.policy import GROUPS, MEMBER, Band, Chain, Rules, Step
from governance.notices.messages import amount_text

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ONE_OF = {"approvers": "approver of {team}", "admins": "owner or admin", "owners": "owner", "finance": "person of finance"}
MANY_OF = {"approvers": "approvers of {team}", "admins": "owners or admins", "owners": "owners", "finance": "people of finance"}


def step_text(step: Step, *, team: str = "the team", names: Mapping[str, str] | None = None) -> str:
    """A step in words: "one approver of Platform or one owner or admin", "two of Kim and Robin"."""
    named = [(names or {}).get(party, "somebody who is gone") for party in step.who if party.startswith(MEMBER)]
    groups = [party for party in step.who if party in GROUPS and not (party == "owners" and "admins" in step.who)]
    number = NUMBERS[step.needed]
    words = MANY_OF if step.needed > 1 else ONE_OF
    parts = [words[party].format(team=team) for party in groups] + named
    if step.needed == 1 and not groups:
        return listed(named, "or")
    return f"{number} {listed(parts, 'or')}" if step.needed == 1 else f"{number} of {listed(parts, 'and')}"


def chain_text(steps: Sequence[Step], *, in_parallel: bool, team: str = "the team", names: Mapping[str, str] | None = None) -> str:
    """The steps in words, in the order they are asked."""
    parts = [step_text(step, team=team, names=names) for step in steps]
    if len(parts) == 1:
        return parts[0]
    return f"{listed(parts, 'and')}, in any order" if in_parallel else ", then ".join(parts)


def band_heading(bands: Sequence[Band], place: int, currency: str) -> str:
    """Which amounts a band is for: "up to 100.00 USD", "above 500.00 USD", "any amount"."""
    low = bands[place - 1].up_to if place else None
    high = bands[place].up_to
    if low is None:
        return "any amount" if high is None else f"up to {amount_text(high, currency)}"
    return (
        f"above {amount_text(low, currency)}"
        if high is None
        else f"above {amount_text(low, currency)}, up to {amount_text(high, currency)}"
    )


def other_units_text(rules: Rules) -> str:
    """Which row holds for what cannot be compared with amounts of money; "" where there is one row only."""
    return "Requests in tokens, calls or another currency go by the last row, whatever their size." if len(rules.bands) > 1 else ""


def times_text(rules: Rules | Chain) -> list[str]:
    """What happens when nobody answers, and how many denials end a request."""
    found = []
    if rules.escalate_minutes is not None:
        found.append(
            f"A step that waits for {minutes_text(rules.escalate_minutes)} goes on to the people of the next one, who then decide for both; the last one to owners and admins."
        )
    if isinstance(rules, Rules) and rules.expire_hours is not None:
        found.append(f"A request that nobody has decided after {hours_text(rules.expire_hours)} is closed.")
    found.append("One denial ends it." if rules.denials == 1 else f"It takes {NUMBERS[rules.denials]} denials to end it.")
    return found


def automatic_text(rules: Rules, currency: str) -> str:
    """What is granted without anybody, as a sentence; "" for nothing."""
    automatic = rules.automatic
    if automatic is None:
        return ""
    parts = (automatic.up_to, automatic.person_daily, automatic.team_daily)
    one, person, team = (amount_text(amount, currency) for amount in parts)
    return f"Up to {one} is granted at once, as long as a person gets no more than {person} and a team no more than {team} a day that way."


def override_text(rules: Rules | Chain, *, names: Mapping[str, str] | None = None) -> str:
    """Who may override, as a sentence; "" for nobody."""
    if rules.override is None:
        return ""
    who = step_text(Step(rules.override.who), names=names)
    days = rules.override.review_days
    return f"In an emergency {who} grants alone, with a reason; somebody else reviews it within {days} day{'' if days == 1 else 's'}."


def listed(parts: Sequence[str], last: str) -> str:
    """ "a, b or c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else "nobody"


def minutes_text(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return hours_text(hours) if hours and not rest else f"{minutes} minute{'' if minutes == 1 else 's'}"


def hours_text(hours: int) -> str:
    days, rest = divmod(hours, 24)
    if days and not rest:
        return f"{days} day{'' if days == 1 else 's'}"
    return f"{hours} hour{'' if hours == 1 else 's'}"
