"""The clients that can be connected: what each is, the lines that connect it, and which of what came in is its.

The lines stand in docs/connect/<slug>.md word for word (a test compares them), with ADDRESS and KEY in the place of the real ones.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from ingest.collector.readers import readers
from ingest.formats.records import record_formats

ADDRESS = "https://weighhouse.example.com"
KEY = "wh_…"
HOST = "weighhouse.example.com"
HARNESS, APPLICATION, GATEWAY, DOOR = "Harnesses", "Applications", "Gateways", "By hand"


@dataclass(frozen=True, slots=True)
class Lines:
    """Something to copy: where it goes, in words in which `this` is code, and the text with ADDRESS and KEY in it."""

    where: str
    text: str

    def filled(self, *, address: str, secret: str) -> str:
        """The text with the real address and key; proxies name host and port apart, and ask a server that they name themselves."""
        at = urlsplit(address)
        host, port = at.hostname or "", at.port or (443 if at.scheme == "https" else 80)
        text = self.text.replace(ADDRESS, address).replace(f"{HOST}:8000", f"{host}:{port}").replace(HOST, host)
        return text.replace("http://weighhouse/", f"{at.scheme}://weighhouse/").replace(KEY, secret)


@dataclass(frozen=True, slots=True)
class Client:
    """Something that reports calls. `gives` says what of it is counted, `checked` against what its format was checked.

    `harness` and `gateway` are what its calls name, `doors` the formats of /api/v1/events that are its own.
    """

    slug: str
    name: str
    group: str
    gives: str
    checked: str
    lines: tuple[Lines, ...]
    harness: str = ""
    gateway: str = ""
    doors: tuple[str, ...] = ()


OTLP_HEADER = f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {KEY}"'
CLIENTS = (
    Client(
        "claude-code", "Claude Code", HARNESS, "Each `api_request` log record is a call, counted once by the vendor's request id.", "Run: 2.1.197; captured: 2.1.329",
        (Lines("In the shell, or in the `env` block of its `settings.json`. Five variables suffice.", f"""\
export CLAUDE_CODE_ENABLE_TELEMETRY=1
export OTEL_LOGS_EXPORTER=otlp
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_ENDPOINT={ADDRESS}/otlp
{OTLP_HEADER}"""),),
        harness="claude-code", doors=("claude-code",),
    ),
    Client(
        "codex", "Codex", HARNESS, "Each completed response that has token counts is a call. Traces and metrics repeat them and are not counted.", "Captured: 0.169.0",
        (Lines("In `~/.codex/config.toml`.", f"""\
[otel]
environment = "production"
log_user_prompt = false

[otel.exporter."otlp-http"]
endpoint = "{ADDRESS}/otlp/v1/logs"
protocol = "binary"

[otel.exporter."otlp-http".headers]
Authorization = "Bearer {KEY}\""""),),
        harness="codex", doors=("codex",),
    ),
    Client(
        "gemini-cli", "Gemini CLI", HARNESS, "Each `gemini_cli.api_response` log record is a call.", "Captured: 0.61.0",
        (Lines("In the shell.", f"""\
export GEMINI_TELEMETRY_ENABLED=true
export GEMINI_TELEMETRY_TARGET=local
export GEMINI_TELEMETRY_USE_COLLECTOR=true
export GEMINI_TELEMETRY_OTLP_PROTOCOL=http
export GEMINI_TELEMETRY_OTLP_ENDPOINT={ADDRESS}/otlp
export GEMINI_TELEMETRY_LOG_PROMPTS=false
{OTLP_HEADER}"""),),
        harness="gemini-cli", doors=("gemini-cli", "telemetry-file"),
    ),
    Client(
        "qwen-code", "Qwen Code", HARNESS, "Each `qwen-code.api_response` log record is a call, by the vendor's id of the answer.", "Captured: 0.24.4",
        (
            Lines("In `~/.qwen/settings.json`.", f"""\
{{"telemetry": {{"enabled": true, "target": "local", "otlpEndpoint": "{ADDRESS}/otlp", "otlpProtocol": "http", "logPrompts": false}}}}"""),
            Lines("In the shell.", OTLP_HEADER),
        ),
        harness="qwen-code", doors=("qwen-code",),
    ),
    Client(
        "opencode", "OpenCode", HARNESS, "Each `api_request` log record of its telemetry plugin is a call.", "Documentation; files captured: 1.18.33",
        (
            Lines("In `~/.config/opencode/opencode.json`.", '{"plugin": ["@devtheops/opencode-plugin-otel"]}'),
            Lines("In the shell.", f"""\
export OPENCODE_ENABLE_TELEMETRY=1
export OPENCODE_OTLP_PROTOCOL=http/protobuf
export OPENCODE_OTLP_ENDPOINT={ADDRESS}/otlp
export OPENCODE_OTLP_HEADERS="Authorization=Bearer {KEY}\""""),
        ),
        harness="opencode", doors=("opencode",),
    ),
    Client(
        "openclaw", "OpenClaw", HARNESS, "Each answer that OpenClaw writes down is a call. The collector reads it on the machine OpenClaw runs on.", "Captured: 2026.9.6",
        (Lines("In the shell of the machine it runs on, which has Python 3.11 or newer.", f"""\
export WEIGHHOUSE_URL={ADDRESS}
export WEIGHHOUSE_KEY={KEY}
curl -fsO {ADDRESS}/collector.pyz
python3 collector.pyz openclaw --watch"""),),
        harness="openclaw", doors=("openclaw",),
    ),
    Client(
        "copilot", "GitHub Copilot", HARNESS, "Each `chat` span is a call. Give the key the default `billing_mode` `subscription`: Copilot bills by seat.", "Documentation",
        (
            Lines("VS Code, in `settings.json`.", f"""\
{{
  "github.copilot.chat.otel.enabled": true,
  "github.copilot.chat.otel.exporterType": "otlp-http",
  "github.copilot.chat.otel.otlpEndpoint": "{ADDRESS}/otlp",
  "github.copilot.chat.otel.headers": {{"Authorization": "Bearer {KEY}"}}
}}"""),
            Lines("Its command line, in the shell.", f"""\
export COPILOT_OTEL_ENABLED=true
export OTEL_EXPORTER_OTLP_ENDPOINT={ADDRESS}/otlp
{OTLP_HEADER}"""),
        ),
        harness="copilot",
    ),
    Client(
        "litellm", "LiteLLM proxy", GATEWAY, "Each finished call is counted, cached tokens apart. What the harness behind it reports too is the same call.", "Captured: 1.106.2",
        (
            Lines("In `config.yaml`: LiteLLM's own callback, which posts calls in batches.", f"""\
litellm_settings:
  callbacks: generic_api
environment_variables:
  GENERIC_LOGGER_ENDPOINT: {ADDRESS}/api/v1/events/litellm
  GENERIC_LOGGER_HEADERS: Authorization=Bearer {KEY}"""),
            Lines("Or by Weighhouse's callback, which no caller waits for. In the shell, beside `config.yaml`.", f"""\
curl -fsO {ADDRESS}/static/weighhouse/weighhouse_litellm.py
export WEIGHHOUSE_URL={ADDRESS}
export WEIGHHOUSE_KEY={KEY}"""),
            Lines("And in `config.yaml`.", """\
litellm_settings:
  callbacks: weighhouse_litellm.weighhouse"""),
        ),
        gateway="litellm", doors=("litellm",),
    ),
    Client(
        "openrouter", "OpenRouter", GATEWAY, "Each broadcast span, or each answer with its `usage` block, is a call, with OpenRouter's own cost beside.", "Documentation",
        (
            Lines("OpenRouter, Settings → Observability → Webhook: the address, then the headers.", f"""\
{ADDRESS}/otlp/v1/traces
{{"Authorization": "Bearer {KEY}"}}"""),
            Lines("Or post an answer as it came.", f"""\
curl {ADDRESS}/api/v1/events/openrouter -H "Authorization: Bearer {KEY}" -H "Content-Type: application/json" --data-binary @answer.json"""),
        ),
        gateway="openrouter", doors=("openrouter",),
    ),
    Client(
        "portkey", "Portkey", GATEWAY, "Each record of its log export or logs API is a call.", "Documentation",
        (Lines("Lines of a log export.", f"""\
curl {ADDRESS}/api/v1/events/portkey -H "Authorization: Bearer {KEY}" -H "Content-Type: application/x-ndjson" --data-binary @export.jsonl"""),),
        gateway="portkey", doors=("portkey",),
    ),
    Client(
        "helicone", "Helicone", GATEWAY, "Each record of its webhook or request query is a call.", "Documentation",
        (Lines("Rows of its request query, or what its webhook sends.", f"""\
curl {ADDRESS}/api/v1/events/helicone -H "Authorization: Bearer {KEY}" -H "Content-Type: application/json" --data-binary @requests.json"""),),
        gateway="helicone", doors=("helicone",),
    ),
    Client(
        "vercel", "Vercel AI Gateway", GATEWAY, "Each generation is a call, with Vercel's own cost beside.", "Documentation",
        (Lines("What its lookup of a generation answers.", f"""\
curl "https://ai-gateway.vercel.sh/v1/generation?id=$GENERATION" -H "Authorization: Bearer $AI_GATEWAY_API_KEY" |
  curl {ADDRESS}/api/v1/events/vercel -H "Authorization: Bearer {KEY}" -H "Content-Type: application/json" --data-binary @-"""),),
        gateway="vercel", doors=("vercel",),
    ),
    Client(
        "cloudflare", "Cloudflare AI Gateway", GATEWAY, "Each row of its log is a call. It does not say what caches served.", "Documentation",
        (Lines("What its API lists as logs.", f"""\
curl {ADDRESS}/api/v1/events/cloudflare -H "Authorization: Bearer {KEY}" -H "Content-Type: application/json" --data-binary @logs.json"""),),
        gateway="cloudflare", doors=("cloudflare",),
    ),
    Client(
        "kong", "Kong", GATEWAY, "Each AI plugin in a log entry that names a model is a call.", "Documentation",
        (Lines("The plugin `http-log`, in Kong's declarative configuration.", f"""\
plugins:
  - name: http-log
    config:
      http_endpoint: {ADDRESS}/api/v1/events/kong
      headers:
        Authorization: Bearer {KEY}"""),),
        gateway="kong", doors=("kong",),
    ),
    Client(
        "opentelemetry", "OpenTelemetry SDKs", APPLICATION,
        "Each span of a model call counts once, however many instrumentations see it: OpenTelemetry's own, OpenInference, OpenLLMetry, PydanticAI and others.",
        "Captured: eleven instrumentations",
        (Lines("Where the application is started. A Collector's `otlphttp` exporter takes the same address and header.", f"""\
export OTEL_EXPORTER_OTLP_ENDPOINT={ADDRESS}/otlp
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
{OTLP_HEADER}
export OTEL_SERVICE_NAME=checkout-agent
export OTEL_RESOURCE_ATTRIBUTES=team.id=platform,project.id=checkout,deployment.environment=prod"""),),
        doors=("otlp",),
    ),
    Client(
        "vendors", "Vendors' answers", APPLICATION, "The answer of OpenAI, Anthropic, Gemini, Bedrock, Ollama or vLLM, as it came: only its usage is read.",
        "Captured by their clients: OpenAI, Anthropic, Gemini; documentation: the others",
        (Lines("In Python, around the vendor's client.", f"""\
import httpx

weighhouse = httpx.Client(base_url="{ADDRESS}", headers={{"Authorization": "Bearer {KEY}"}})


def report(answer: httpx.Response) -> None:
    if answer.is_success and answer.headers.get("content-type", "").startswith("application/json"):
        labels = {{"X-Weighhouse-Session": "nightly-7", "X-Weighhouse-Team": "platform", "Content-Type": "application/json"}}
        weighhouse.post("/api/v1/events/openai", content=answer.read(), headers=labels)


client = httpx.Client(event_hooks={{"response": [report]}})  # openai.OpenAI(http_client=client)"""),),
        doors=("openai", "anthropic", "gemini", "bedrock", "ollama", "vllm", "response"),
    ),
    Client(
        "cloudevents", "CloudEvents", APPLICATION, "CloudEvents 1.0, structured, batched or binary: `data` is an event, or a vendor's answer in an envelope.", "Specification",
        (Lines("In the shell.", f"""\
curl {ADDRESS}/api/v1/events/cloudevents \\
  -H "Authorization: Bearer {KEY}" -H "Content-Type: application/cloudevents+json" \\
  -d "{{\\"specversion\\": \\"1.0\\", \\"type\\": \\"com.acme.llm.call\\", \\"source\\": \\"/checkout/agent\\", \\"id\\": \\"first-$(date +%s)\\", \\"time\\": \\"$(date -u +%FT%TZ)\\",
       \\"data\\": {{\\"provider\\": \\"openai\\", \\"model\\": \\"gpt-4o\\", \\"input_tokens\\": 476, \\"output_tokens\\": 200}}}}\""""),),
        doors=("cloudevents",),
    ),
    Client(
        "collector", "Collector", DOOR, "Reads the files of Claude Code, Codex, Gemini CLI, Qwen Code, OpenCode and OpenClaw on an engineer's machine and posts the counts, never text.",
        "Run on files of each",
        (Lines("In the shell of the machine they run on, which has Python 3.11 or newer.", f"""\
export WEIGHHOUSE_URL={ADDRESS}
export WEIGHHOUSE_KEY={KEY}
curl -fsO {ADDRESS}/collector.pyz
python3 collector.pyz --watch"""),),
        doors=("run-sums",),
    ),
    Client(
        "rest", "REST and curl", DOOR, "One event, a list or one per line, with Weighhouse's own fields.", "Run",
        (Lines("One call, in the shell, to see it arrive.", f"""\
curl {ADDRESS}/api/v1/events \\
  -H "Authorization: Bearer {KEY}" -H "Content-Type: application/json" \\
  -d "{{\\"id\\": \\"first-$(date +%s)\\", \\"occurred_at\\": \\"$(date -u +%FT%TZ)\\", \\"provider\\": \\"anthropic\\",
       \\"model\\": \\"claude-sonnet-4-5\\", \\"input_tokens\\": 1200, \\"output_tokens\\": 350}}\""""),),
        doors=("rest",),
    ),
)  # fmt: skip
BY_SLUG = {client.slug: client for client in CLIENTS}
# What an empty organization is shown first.
FIRST = tuple(BY_SLUG[slug] for slug in ("claude-code", "litellm", "rest"))


def clients_of(source: str, *, harness: str, gateway: str) -> tuple[str, ...]:
    """The slugs of the clients that something which came in is from: by its own door, else by who it says made or passed on the call.

    What a harness's own format brings came by the collector, or by whoever posts its files. What nobody here knows by
    name came from an application: over OpenTelemetry, or by hand.
    """
    own = next((client.slug for client in CLIENTS if source in client.doors and client.group != DOOR and source != "otlp"), None)
    if own is not None:
        return (own, "collector") if source in readers() else (own,)
    if source in record_formats():
        return ("collector",)
    return (passed_on(gateway) or called_by(harness) or ("opentelemetry" if source == "otlp" else "rest"),)


def passed_on(gateway: str) -> str | None:
    return next((client.slug for client in CLIENTS if gateway and client.gateway == gateway), None)


def called_by(harness: str) -> str | None:
    return next((client.slug for client in CLIENTS if harness and client.harness == harness), None)
