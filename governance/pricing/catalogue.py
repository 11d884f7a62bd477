"""What the price lists do not say about a model: maker, country, open weights, tier. The facts are in catalogue.json beside this."""

import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FACTS_TEXT = (Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8")
FACTS: dict[str, Any] = json.loads(FACTS_TEXT)
WORD = re.compile(r"[a-z]+")


class Facts(NamedTuple):
    """What is known of a model beside its price. Empty and None: not known."""

    maker: str
    country: str
    has_open_weights: bool | None


def facts_of(provider: str, model: str) -> Facts:
    """The facts for a model as a provider names it."""
    maker = maker_of(provider, model)
    return Facts(maker, country_of(maker), weights_of(model))


def provider_family(name: str) -> str:
    """The provider that a reported name means, whatever the price book holds: one name for all of its spellings, "" for names that say nothing."""
    name = name.strip().lower()
    return "" if name in FACTS["neutral_providers"] else str(FACTS["provider_aliases"].get(name, name))


def country_of(maker: str) -> str:
    """The maker's country (ISO 3166), empty when not known."""
    return str(FACTS["makers"].get(maker, ""))


@cache
def _starts(word: str) -> re.Pattern[str]:
    """Matches the word where a part of a name begins, so that `o1` is found in `azure/o1-mini` and not in `solo1`."""
    return re.compile(rf"(?:^|[^a-z0-9]){re.escape(word)}")


def maker_of(provider: str, model: str) -> str:
    """Who made the model: by the owner before the slash, by the family in the name, else the provider where it only sells its own."""
    name = model.lower()
    owner, slash, _ = name.partition("/")
    if slash and owner.lstrip("~@") in FACTS["owners"]:
        return str(FACTS["owners"][owner.lstrip("~@")])
    own = FACTS["provider_makers"].get(provider, "")
    if own and own != "google":
        return str(own)
    return next((str(maker) for family, maker in FACTS["families"] if _starts(family).search(name)), str(own))


def weights_of(model: str) -> bool | None:
    """Whether the weights are published; the longest family name that fits decides, None when none does."""
    name = model.lower()
    known = [(family, is_open) for is_open, key in ((True, "open"), (False, "closed")) for family in FACTS["open_weights"][key]]
    fitting = [(len(family), is_open) for family, is_open in known if _starts(family).search(name)]
    return max(fitting)[1] if fitting else None


def tier_of(model: str, output_amount: Decimal | None) -> str:
    """The tier by the rule in catalogue.json. `output_amount` is USD per million output tokens, None when there is none."""
    rule = FACTS["tier"]
    words = set(WORD.findall(model.lower()))
    named = next((tier for word, tier in rule["words"] if word in words), None)
    if named is not None:
        return str(named)
    if output_amount is None:
        return "unknown"
    if output_amount >= Decimal(rule["flagship_from"]):
        return "flagship"
    return "economy" if output_amount <= Decimal(rule["economy_to"]) else "standard"
