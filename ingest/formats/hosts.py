"""Which provider answers at a server's address. Pure."""

from governance.pricing.catalogue import provider_family

# By the end of the host's name. A gateway's own address is not here: it says nothing of who bills.
HOSTS = {
    "openrouter.ai": "openrouter", "groq.com": "groq", "openai.azure.com": "azure", "cognitiveservices.azure.com": "azure", "services.ai.azure.com": "azure",
    "inference.ai.azure.com": "azure", "amazonaws.com": "aws", "aiplatform.googleapis.com": "google", "generativelanguage.googleapis.com": "google",
    "deepseek.com": "deepseek", "mistral.ai": "mistral", "x.ai": "x-ai", "together.xyz": "together", "together.ai": "together", "fireworks.ai": "fireworks",
    "perplexity.ai": "perplexity", "cerebras.ai": "cerebras", "moonshot.cn": "moonshotai", "moonshot.ai": "moonshotai", "bigmodel.cn": "zhipuai", "z.ai": "zai",
    "aliyuncs.com": "alibaba", "minimax.io": "minimax", "minimaxi.com": "minimax", "novita.ai": "novita", "cohere.com": "cohere", "cohere.ai": "cohere",
    "api.anthropic.com": "anthropic", "api.openai.com": "openai", "githubcopilot.com": "github-copilot", "nvidia.com": "nvidia",
}  # fmt: skip


def provider_at(address: str) -> str:
    """The provider at a host name or URL, "" when none is known to answer there."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0].partition(":")[0].lower()
    labels = host.split(".")
    for start in range(len(labels) - 1):
        if found := HOSTS.get(".".join(labels[start:])):
            return provider_family(found)
    return ""
