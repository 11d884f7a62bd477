"""What models the simulated organization uses, as which provider and gateway sell them, and how fast they answer."""

from dataclasses import dataclass
from typing import Literal

# The price rise of spring 2026 is replayed on a model of the demo's own, so that nobody else's prices are touched.
CONTRACT_PROVIDER = "zhipuai"
CONTRACT_MODEL = "glm-5-turbo-northwind"
# Priced in CNY, so that its calls are converted.
YUAN_PROVIDER = "moonshotai"
YUAN_MODEL = "northwind-yuan-contract"
UNPRICED_MODEL = "step-3.7-flash"


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as it is called. `cache` says how the vendor reports cached input: with counted writes, reads only, or not."""

    provider: str
    model: str
    gateway: str = ""
    cache: Literal["writes", "reads", "none"] = "reads"
    ms_per_token: int = 14
    ttft_ms: int = 600


OPUS = Offer("anthropic", "claude-opus-4-8", "", "writes", 19, 1400)
OPUS_LITELLM = Offer("anthropic", "claude-opus-4-8", "litellm", "writes", 19, 1450)
FABLE = Offer("anthropic", "claude-fable-5", "", "writes", 26, 1900)
FABLE_LITELLM = Offer("anthropic", "claude-fable-5", "litellm", "writes", 26, 1900)
SONNET = Offer("anthropic", "claude-sonnet-4-6", "", "writes", 13, 900)
SONNET_LITELLM = Offer("anthropic", "claude-sonnet-4-6", "litellm", "writes", 13, 950)
HAIKU = Offer("anthropic", "claude-haiku-4-5", "", "writes", 7, 480)
GPT = Offer("openai", "gpt-5.5", "", "reads", 16, 1300)
GPT_LITELLM = Offer("openai", "gpt-5.5", "litellm", "reads", 16, 1350)
GPT_MINI = Offer("openai", "gpt-5.4-mini", "", "reads", 7, 420)
GPT_MINI_LITELLM = Offer("openai", "gpt-5.4-mini", "litellm", "reads", 7, 450)
GEMINI_PRO = Offer("google", "gemini-3.1-pro-preview", "litellm", "reads", 15, 1100)
GEMINI_PRO_DIRECT = Offer("google", "gemini-3.1-pro-preview", "", "reads", 15, 1100)
GEMINI_FLASH_DIRECT = Offer("google", "gemini-3-flash-preview", "", "reads", 6, 360)
GEMINI_FLASH = Offer("google", "gemini-3-flash-preview", "litellm", "reads", 6, 380)
DEEPSEEK = Offer("deepseek", "deepseek-v4-pro", "litellm", "reads", 22, 900)
DEEPSEEK_OPENROUTER = Offer("openrouter", "deepseek/deepseek-v3.2", "openrouter", "reads", 24, 1000)
KIMI_YUAN = Offer(YUAN_PROVIDER, YUAN_MODEL, "litellm", "reads", 18, 820)
KIMI = Offer("openrouter", "moonshotai/kimi-k2.6", "openrouter", "reads", 18, 850)
MINIMAX = Offer("openrouter", "minimax/minimax-m2.5", "openrouter", "reads", 15, 700)
GLM = Offer(CONTRACT_PROVIDER, CONTRACT_MODEL, "litellm", "reads", 17, 800)
STEP = Offer("stepfun", UNPRICED_MODEL, "litellm", "none", 9, 500)
SELF_HOSTED = Offer("vllm", "qwen3-coder-30b", "vllm", "none", 11, 260)
