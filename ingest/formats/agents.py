"""Which harness called, from the User-Agent that a gateway saw. Pure."""

from ingest.formats.scalars import Scalar, text

# By the first word of the User-Agent, in lower case.
HARNESSES = {
    "claude-cli": "claude-code", "claude-code": "claude-code", "codex_cli_rs": "codex", "codex_exec": "codex", "codex-tui": "codex", "geminicli": "gemini-cli",
    "opencode": "opencode", "qwencode": "qwen-code", "githubcopilotchat": "copilot",
}  # fmt: skip


def harness_of(user_agent: Scalar | None) -> dict[str, str | None]:
    """harness and harness_version; nothing for a caller that is no harness known here."""
    name, _, version = str(user_agent or "").partition(" ")[0].partition("/")
    harness = HARNESSES.get(name.lower()) or next(
        (known for start, known in HARNESSES.items() if name.lower().startswith(f"{start}-")), None
    )
    return {"harness": harness, "harness_version": text(version, 80)} if harness else {"harness": None, "harness_version": None}
