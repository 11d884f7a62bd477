"""Settings: connect a harness, a proxy or a script, with a key made on the spot."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from dashboards.access import PageRequest, page
from dashboards.forms.connecting import ConnectForm
from dashboards.pages.settings.frame import done, shown
from governance.tenancy import services
from governance.tenancy.access import Right
from governance.tenancy.models import Scope

PLACEHOLDER = "<key>"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines to copy: where they go, and what they are."""

    id: str
    title: str
    where: str
    text: str


def snippets(public_url: str, secret: str) -> list[Snippet]:
    """What connects each client, with the key in place."""
    return [
        Snippet("claude-code", "Claude Code", "In the shell, or in the env block of its settings.json. Five variables suffice.", claude_code(public_url, secret)),
        Snippet("codex", "Codex", "In ~/.codex/config.toml.", codex(public_url, secret)),
        Snippet("gemini-cli", "Gemini CLI", "In the shell.", gemini_cli(public_url, secret)),
        Snippet("qwen-code", "Qwen Code", "The object in ~/.qwen/settings.json, the last line in the shell.", qwen_code(public_url, secret)),
        Snippet("opencode", "OpenCode", "In the shell, with the plugin @devtheops/opencode-plugin-otel.", opencode(public_url, secret)),
        Snippet("copilot", "GitHub Copilot", "In VS Code's settings.json.", copilot(public_url, secret)),
        Snippet("opentelemetry", "OpenTelemetry", "Applications instrumented by OpenInference, OpenLLMetry, PydanticAI and others.", opentelemetry(public_url, secret)),
        Snippet("litellm", "LiteLLM proxy", "Beside config.yaml. The callback posts every call, cached tokens apart.", litellm(public_url, secret)),
        Snippet("curl", "curl", "One call, to see it arrive.", curl(public_url, secret)),
    ]


def claude_code(public_url: str, secret: str) -> str:
    """The five environment variables. Events come from the log records; metrics are not needed."""
    return "\n".join(
        (
            "export CLAUDE_CODE_ENABLE_TELEMETRY=1",
            "export OTEL_LOGS_EXPORTER=otlp",
            "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
            f"export OTEL_EXPORTER_OTLP_ENDPOINT={public_url}/otlp",
            f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"',
        )
    )


def codex(public_url: str, secret: str) -> str:
    """Its log exporter; traces and metrics are not needed."""
    return "\n".join(
        (
            "[otel]",
            "log_user_prompt = false",
            '[otel.exporter."otlp-http"]',
            f'endpoint = "{public_url}/otlp/v1/logs"',
            'protocol = "binary"',
            '[otel.exporter."otlp-http".headers]',
            f'Authorization = "Bearer {secret}"',
        )
    )


def gemini_cli(public_url: str, secret: str) -> str:
    """Its telemetry, to a collector that we are."""
    return "\n".join(
        (
            "export GEMINI_TELEMETRY_ENABLED=true",
            "export GEMINI_TELEMETRY_TARGET=local",
            "export GEMINI_TELEMETRY_USE_COLLECTOR=true",
            "export GEMINI_TELEMETRY_OTLP_PROTOCOL=http",
            f"export GEMINI_TELEMETRY_OTLP_ENDPOINT={public_url}/otlp",
            "export GEMINI_TELEMETRY_LOG_PROMPTS=false",
            f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"',
        )
    )


def qwen_code(public_url: str, secret: str) -> str:
    """As Gemini CLI, whose fork it is, by its settings."""
    return "\n".join(
        (
            '{"telemetry": {',
            '  "enabled": true, "target": "local", "logPrompts": false,',
            f'  "otlpEndpoint": "{public_url}/otlp", "otlpProtocol": "http"',
            "}}",
            f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"',
        )
    )


def opencode(public_url: str, secret: str) -> str:
    """Its telemetry plugin's variables."""
    return "\n".join(
        (
            "export OPENCODE_ENABLE_TELEMETRY=1",
            "export OPENCODE_OTLP_PROTOCOL=http/protobuf",
            f"export OPENCODE_OTLP_ENDPOINT={public_url}/otlp",
            f'export OPENCODE_OTLP_HEADERS="Authorization=Bearer {secret}"',
        )
    )


def copilot(public_url: str, secret: str) -> str:
    """Copilot Chat's settings in VS Code."""
    return "\n".join(
        (
            '"github.copilot.chat.otel.enabled": true,',
            '"github.copilot.chat.otel.exporterType": "otlp-http",',
            f'"github.copilot.chat.otel.otlpEndpoint": "{public_url}/otlp",',
            f'"github.copilot.chat.otel.headers": {{"Authorization": "Bearer {secret}"}}',
        )
    )


def opentelemetry(public_url: str, secret: str) -> str:
    """The exporter's own variables, and whose the application is."""
    return "\n".join(
        (
            f"export OTEL_EXPORTER_OTLP_ENDPOINT={public_url}/otlp",
            "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
            f'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"',
            "export OTEL_SERVICE_NAME=my-agent",
            "export OTEL_RESOURCE_ATTRIBUTES=team.id=platform,deployment.environment=prod",
        )
    )


def litellm(public_url: str, secret: str) -> str:
    """Fetch the callback, name it in the configuration, give it the address and the key."""
    return "\n".join(
        (
            f"curl -fsO {public_url}/static/weighhouse/weighhouse_litellm.py",
            f"export WEIGHHOUSE_URL={public_url}",
            f"export WEIGHHOUSE_KEY={secret}",
            "# config.yaml",
            "litellm_settings:",
            "  callbacks: weighhouse_litellm.weighhouse",
        )
    )


def curl(public_url: str, secret: str) -> str:
    """One usage event."""
    return "\n".join(
        (
            f"curl {public_url}/api/v1/events \\",
            f'  -H "Authorization: Bearer {secret}" -H "Content-Type: application/json" \\',
            """  -d "{\\"id\\": \\"first-$(date +%s)\\", \\"occurred_at\\": \\"$(date -u +%FT%TZ)\\", \\"provider\\": \\"anthropic\\",""",
            """       \\"model\\": \\"claude-sonnet-4-5\\", \\"input_tokens\\": 1200, \\"output_tokens\\": 350}\"""",
        )
    )


def shown_snippets(secret: str = "") -> list[Snippet]:
    return snippets(settings.PUBLIC_URL, secret or PLACEHOLDER)


@page(Right.MANAGE_ORGANIZATION)
def connect(request: PageRequest) -> HttpResponse:
    """The lines that connect, still without a key."""
    return shown(request, "connect", "settings-connect", {"form": ConnectForm(actor=request.actor), "snippets": shown_snippets()})


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def key_make(request: PageRequest) -> HttpResponse:
    """Makes a key that may post usage and ask for authorization, and puts it into the lines. A plain visit goes back."""
    actor = request.actor
    if request.method != "POST":
        return redirect("settings-connect", slug=actor.organization.slug)
    form = ConnectForm(request.POST, actor=actor)
    made = None
    if form.is_valid():
        team = form.cleaned_data["team"]
        now = timezone.now()
        name = f"Connected {now.astimezone(actor.organization.zone):%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}"
        made = done(form, lambda: services.api_key_create(actor=actor, name=name, scopes=[Scope.INGEST, Scope.AUTHORIZE], defaults={"team": team.slug} if team else {}))
    key, secret = made or (None, "")
    values = {"form": form, "snippets": shown_snippets(secret), "key": key, "secret": secret}
    if request.headers.get("HX-Request"):
        return render(request, "settings/connect_card.html", values, status=200 if made else 422)
    return shown(request, "connect", "settings-connect", values, status=200 if made else 422)
