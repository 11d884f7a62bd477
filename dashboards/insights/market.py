"""What is known of the market, from market.json beside this module: harness binding, neutral gateways, price rises, simple tasks."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("market.json").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Harness:
    """An agent or tool and whom it is bound to; `bound_to` is empty for neutral ones."""

    slug: str
    name: str
    binding: str
    bound_to: str
    source: str


@dataclass(frozen=True, slots=True)
class PriceRise:
    """A past rise, in percent of the price before."""

    vendor: str
    percent: Decimal
    on: str
    what: str


@dataclass(frozen=True, slots=True)
class SimpleTask:
    """A kind of work that needs no flagship, and the task classes reported for it."""

    name: str
    labels: tuple[str, ...]


# How those who make and bill models write their names.
BRANDS = {
    "alibaba": "Alibaba", "anthropic": "Anthropic", "aws": "AWS", "aws-bedrock": "Amazon Bedrock", "azure": "Azure", "cohere": "Cohere", "deepseek": "DeepSeek",
    "google": "Google", "meta": "Meta", "meta-llama": "Meta", "microsoft": "Microsoft", "minimax": "MiniMax", "mistral": "Mistral", "mistralai": "Mistral",
    "moonshot": "Moonshot AI", "moonshotai": "Moonshot AI", "nvidia": "NVIDIA", "openai": "OpenAI", "openrouter": "OpenRouter", "qwen": "Qwen", "stepfun": "StepFun",
    "vllm": "vLLM", "x-ai": "xAI", "xai": "xAI", "xiaomi": "Xiaomi", "z-ai": "Zhipu AI", "zhipu": "Zhipu AI", "zhipuai": "Zhipu AI",
}  # fmt: skip
HARNESSES = {
    row["slug"]: Harness(row["slug"], row["name"], row["binding"], row.get("bound_to", ""), row["source"]) for row in FACTS["harnesses"]
}
NEUTRAL_GATEWAYS: dict[str, str] = {row["slug"]: row["name"] for row in FACTS["neutral_gateways"]}
PRICE_RISES = tuple(PriceRise(row["vendor"], Decimal(row["percent"]), row["on"], row["what"]) for row in FACTS["price_rises"])
DEFAULT_RISE = next(rise for rise, row in zip(PRICE_RISES, FACTS["price_rises"], strict=True) if row.get("is_default"))
SIMPLE_TASKS = tuple(SimpleTask(row["name"], tuple(row["labels"])) for row in FACTS["simple_task_classes"])
SIMPLE_LABELS = tuple(label for task in SIMPLE_TASKS for label in task.labels)


def binding_of(harness: str) -> str:
    """`single-vendor`, `neutral`, `unclassified` for a harness not in the list, or `unreported` for none."""
    if not harness:
        return "unreported"
    known = HARNESSES.get(harness.lower())
    return known.binding if known else "unclassified"


def route_of(gateway: str) -> str:
    """How traffic reaches the vendor: `neutral`, `unclassified` (a gateway not in the list), or `direct` (none reported)."""
    if not gateway:
        return "direct"
    return "neutral" if gateway.lower() in NEUTRAL_GATEWAYS else "unclassified"


def simple_task_of(task_class: str) -> str:
    """The kind of simple work the task class is reported for, or ""."""
    return next((task.name for task in SIMPLE_TASKS if task_class in task.labels), "")
