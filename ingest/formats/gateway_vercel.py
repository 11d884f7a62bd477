"""Vercel AI Gateway's generations, as its lookup gives them. Written from its documentation, whose shape is OpenRouter's.

Answers through it are OpenAI's or Anthropic's in shape and go to those formats, with `gateway` as a label.
"""

from ingest.formats import vendor_openrouter

NAME = "vercel"


class Reader(vendor_openrouter.Reader):
    provider = "vercel"
    gateway = "vercel"
