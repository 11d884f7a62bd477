"""The names that the measured organization goes by, shared by the one who makes it and the clients who post to it."""

SLUG = "bench"
PERSON, APPROVER = "person@bench.example", "approver@bench.example"
TEAMS = ("platform", "search", "payments", "data", "mobile", "research", "support", "growth")
PROJECTS_PER_TEAM = 2
PEOPLE_PER_TEAM = 8
HARNESSES = ("claude-code", "codex", "opencode", "gemini-cli")
# (provider, model, role): a flagship plans, a standard model works, an economy model retrieves.
CALLS = (
    (("anthropic", "claude-opus-4-5", "planner"), ("anthropic", "claude-sonnet-4-5", "worker"), ("anthropic", "claude-haiku-4-5", "retriever")),
    (("openai", "gpt-5", "planner"), ("openai", "gpt-5-mini", "worker"), ("openai", "gpt-5-nano", "retriever")),
    (("anthropic", "claude-opus-4-5", "planner"), ("deepseek", "deepseek-chat", "worker"), ("openai", "gpt-5-nano", "retriever")),
    (("google", "gemini-2.5-pro", "planner"), ("google", "gemini-2.5-flash", "worker"), ("google", "gemini-2.5-flash-lite", "retriever")),
)


def person(team: str, number: int) -> str:
    return f"{team}.{number}@bench.example"


def project(team: str, number: int) -> str:
    return f"{team}-{number}"
