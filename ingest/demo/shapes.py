"""How sessions look: which harness runs them, which roles they call in which order, and how much context they carry."""

from dataclasses import dataclass
from typing import Literal

from ingest.demo import offers
from ingest.demo.offers import Offer

Stream = Literal["gateway", "telemetry", "nightly"]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of call. `context` and `output` are median tokens; a `loop` resends one growing history with every call."""

    role: str
    offers: tuple[Offer, ...]
    tasks: tuple[str, ...]
    context: int
    output: int
    loop: bool = False
    cached: float = 0.0  # share of the context that a cache serves, where calls do not share a history
    thinking: float = 0.0  # share of output that is reasoning


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of session. `rounds` names parts in the order they are called; with `traced`, a round is one trace."""

    harness: str
    version: str
    prefix: str
    rounds: tuple[Part, ...]
    calls: int  # median of a session
    gap_seconds: int
    stream: Stream = "gateway"
    traced: bool = False
    by_machine: bool = False
    has_member: bool = True
    billing_mode: Literal["metered", "subscription", "self-hosted"] | None = None
    environments: tuple[str, ...] = ("development",)


CODING = ("code", "code", "code", "review", "test", "plan")
READING = ("research", "summarize", "extract", "extract", "search")
# Work that a low-cost model does as well; some of it runs on flagships, which is what the routing page is there to show.
SIMPLE = ("extract", "format-conversion", "proofreading", "web-scraping", "code-translation")

CLAUDE_LOOP = Part("planner", (offers.OPUS, offers.OPUS, offers.FABLE, offers.SONNET, offers.OPUS, offers.FABLE), CODING, 160_000, 2_600, loop=True, thinking=0.25)
CLAUDE_SIMPLE = Part("worker", (offers.OPUS,), SIMPLE, 60_000, 1_900)
CLAUDE_WORKER = Part("worker", (offers.HAIKU, offers.HAIKU, offers.SONNET), (*SIMPLE, "search", "code"), 62_000, 800, cached=0.75)
CODEX_LOOP = Part("planner", (offers.GPT,), CODING, 160_000, 3_000, loop=True, thinking=0.45)
CODEX_WORKER = Part("worker", (offers.GPT_MINI,), (*SIMPLE, "test", "code"), 60_000, 900, cached=0.7)
GEMINI_LOOP = Part("planner", (offers.GEMINI_PRO_DIRECT,), CODING, 185_000, 3_200, loop=True, thinking=0.4)
GEMINI_WORKER = Part("worker", (offers.GEMINI_FLASH_DIRECT,), (*SIMPLE, "search", "code"), 70_000, 1_000, cached=0.5)
META_PLANNER = Part("planner", (offers.OPUS_LITELLM, offers.GPT_LITELLM, offers.GEMINI_PRO, offers.GEMINI_PRO), ("plan", "plan", "review"), 140_000, 4_000, cached=0.3, thinking=0.4)
META_WORKER = Part(
    "worker",
    (offers.DEEPSEEK, offers.DEEPSEEK, offers.GLM, offers.GLM, offers.GLM, offers.KIMI_YUAN, offers.MINIMAX, offers.DEEPSEEK_OPENROUTER),
    (*SIMPLE, "code", "code", "test"),
    90_000,
    1_600,
    cached=0.4,
)
META_RETRIEVER = Part("retriever", (offers.GEMINI_FLASH, offers.MINIMAX), READING, 62_000, 500, cached=0.15)
META_JUDGE = Part("judge", (offers.OPUS_LITELLM, offers.GPT_LITELLM), ("review", "contradiction-analysis"), 60_000, 2_800, thinking=0.5)
CREW_PLANNER = Part("planner", (offers.GPT_LITELLM, offers.SONNET_LITELLM), ("plan",), 30_000, 1_800, thinking=0.3)
CREW_WORKER = Part("worker", (offers.GEMINI_FLASH, offers.GLM, offers.DEEPSEEK, offers.GPT_MINI_LITELLM), SIMPLE, 85_000, 1_200, cached=0.2)
CREW_WASTE = Part("worker", (offers.OPUS_LITELLM, offers.GPT_LITELLM), SIMPLE, 60_000, 1_400)
CHAIN_RETRIEVER = Part("retriever", (offers.GEMINI_FLASH, offers.GPT_MINI_LITELLM), READING, 60_000, 350, cached=0.3)
CHAIN_ANSWER = Part("worker", (offers.SONNET_LITELLM, offers.GPT_MINI_LITELLM, offers.STEP), ("answer", "answer", "translate"), 28_000, 650, cached=0.5)
PANEL_TOP = Part("panel", (offers.FABLE_LITELLM,), ("research",), 60_000, 2_600, thinking=0.4)
PANEL_GPT = Part("panel", (offers.GPT_LITELLM,), ("research",), 60_000, 2_300, thinking=0.4)
PANEL_FLASH = Part("panel", (offers.GEMINI_FLASH,), ("research",), 90_000, 2_000)
PANEL_KIMI = Part("panel", (offers.KIMI,), ("research",), 90_000, 2_400)
PANEL_DEEPSEEK = Part("panel", (offers.DEEPSEEK,), ("research",), 90_000, 2_400)
FUSION_JUDGE = Part("judge", (offers.OPUS_LITELLM,), ("contradiction-analysis", "review"), 40_000, 2_800, thinking=0.5)
CLAW_WORKER = Part("worker", (offers.GLM, offers.MINIMAX, offers.STEP, offers.GLM), (*READING, "web-scraping"), 95_000, 700, cached=0.35)
HOSTED_WORKER = Part("worker", (offers.SELF_HOSTED,), ("code", "review", "secret-scan"), 45_000, 700)
MOBILE_LOOP = Part("planner", (offers.GLM,), CODING, 120_000, 1_600, loop=True)

CLAUDE_CODE = Shape(
    "claude-code", "2.1.4", "cc", (CLAUDE_LOOP, CLAUDE_LOOP, CLAUDE_WORKER, CLAUDE_LOOP, CLAUDE_WORKER, CLAUDE_WORKER, CLAUDE_SIMPLE), 20, 40, "telemetry"
)
CLAUDE_SEAT = Shape("claude-code", "2.1.4", "ccs", (CLAUDE_LOOP, CLAUDE_LOOP, CLAUDE_WORKER), 16, 45, "telemetry", billing_mode="subscription")
CODEX = Shape("codex", "0.98.0", "cx", (CODEX_LOOP, CODEX_WORKER, CODEX_LOOP, CODEX_WORKER), 18, 45, "telemetry")
GEMINI_CLI = Shape("gemini-cli", "1.8.0", "gc", (GEMINI_LOOP, GEMINI_WORKER), 20, 40, "telemetry")
OMNIGENT = Shape("omnigent", "1.3.0", "om", (META_PLANNER, META_RETRIEVER, *(META_WORKER,) * 5, META_JUDGE), 30, 18, traced=True)
CREWAI = Shape(
    "crewai", "1.9.2", "cr", (CREW_PLANNER, *(CREW_WORKER,) * 5, CREW_WASTE), 26, 9, traced=True, by_machine=True, environments=("production", "staging")
)
LANGCHAIN = Shape(
    "langchain", "1.2.0", "lc", (CHAIN_RETRIEVER, CHAIN_RETRIEVER, CHAIN_ANSWER), 12, 12, traced=True, has_member=False, environments=("production",)
)
FUSION_TOP = Shape("omnigent", "1.3.0", "fu", (PANEL_TOP, PANEL_GPT, FUSION_JUDGE), 9, 70, traced=True)
FUSION_LEAN = Shape("omnigent", "1.3.0", "fu", (PANEL_FLASH, PANEL_KIMI, PANEL_DEEPSEEK, FUSION_JUDGE), 12, 60, traced=True)
OPENCLAW = Shape(
    "openclaw",
    "2026.10.2",
    "oc",
    (CLAW_WORKER,),
    30,
    15,
    "nightly",
    by_machine=True,
    has_member=False,
    environments=("production",),
)
OPENCODE = Shape("opencode", "0.9.4", "op", (HOSTED_WORKER,), 18, 30, "telemetry", billing_mode="self-hosted")
ZCODE = Shape("zcode", "3.0.1", "zc", (MOBILE_LOOP, MOBILE_LOOP, CLAUDE_WORKER), 18, 40, "telemetry")

# Sessions of each team, in equal parts of the tuple.
OF_TEAM: dict[str, tuple[Shape, ...]] = {
    "platform": (CLAUDE_CODE, CLAUDE_CODE, CLAUDE_CODE, OMNIGENT, OMNIGENT, OMNIGENT, CODEX, CLAUDE_SEAT, FUSION_TOP),
    "search": (CODEX, CODEX, GEMINI_CLI, GEMINI_CLI, OMNIGENT, CLAUDE_CODE, CLAUDE_CODE, FUSION_LEAN, LANGCHAIN),
    "payments": (CLAUDE_CODE, CLAUDE_CODE, CODEX, CODEX, OMNIGENT, OMNIGENT, CLAUDE_SEAT),
    "data": (CREWAI, CREWAI, OPENCLAW, OMNIGENT, OMNIGENT, CLAUDE_CODE, CODEX, GEMINI_CLI),
    "mobile": (ZCODE, ZCODE, CLAUDE_CODE, CLAUDE_SEAT, OMNIGENT),
    "research": (FUSION_TOP, FUSION_LEAN, FUSION_LEAN, OMNIGENT, OMNIGENT, CODEX),
    "support": (LANGCHAIN, LANGCHAIN, LANGCHAIN, CREWAI),
    "security": (OPENCODE, OPENCODE, CLAUDE_CODE, OMNIGENT),
}
