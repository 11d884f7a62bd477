"""vLLM's answers, which are OpenAI's in shape, from models that run on one's own machines."""

from ingest.formats import vendor_openai

NAME = "vllm"


class Reader(vendor_openai.Reader):
    provider = "vllm"
