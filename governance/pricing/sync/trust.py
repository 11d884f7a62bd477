"""Whose prices rate calls where several sources know a model: an order for each provider, which admins can set."""

from collections.abc import Iterable, Mapping

from governance.pricing.sources import genai, litellm, openrouter, own
from governance.pricing.sync.models import SourceTrust

MANUAL = "manual"
OWN = "own"
DEFAULT = (OWN, MANUAL, genai.SOURCE, openrouter.SOURCE, litellm.SOURCE)
LABELS = {
    OWN: "The provider's own list",
    MANUAL: "Typed by an admin",
    genai.SOURCE: "genai-prices",
    openrouter.SOURCE: "OpenRouter",
    litellm.SOURCE: "LiteLLM",
}


def kind_of(source: str) -> str:
    """What a source counts as in an order: its name, `own` for any provider's own list, `manual` for whatever else people enter."""
    if source.startswith(own.PREFIX):
        return OWN
    return source if source in DEFAULT else MANUAL


def label_of(source: str) -> str:
    """The source's name for people."""
    return LABELS[kind_of(source)]


class Trust:
    """The orders of all providers, read once."""

    def __init__(self, orders: Mapping[str, Iterable[str]]) -> None:
        self._orders = {provider: tuple(order) for provider, order in orders.items()}

    def order(self, provider: str) -> tuple[str, ...]:
        """The provider's order, most trusted first; kinds that an order leaves out come after it, as in the usual one."""
        chosen = self._orders.get(provider) or self._orders.get("") or DEFAULT
        return (*chosen, *(kind for kind in DEFAULT if kind not in chosen))

    def rank(self, provider: str, source: str) -> int:
        """The lower, the more it is trusted."""
        return self.order(provider).index(kind_of(source))


def trust_read() -> Trust:
    """The orders as they are set."""
    return Trust(dict(SourceTrust.objects.values_list("provider", "sources")))
