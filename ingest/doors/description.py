"""The API's own description: OpenAPI at /api/schema, and the same for people at /api/docs without any script."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Field:
    """One member of a body, or one parameter."""

    name: str
    kind: str
    is_required: bool
    note: str


@dataclass(frozen=True)
class Example:
    """A body as it is sent or answered."""

    title: str
    media_type: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What a status means."""

    status: str
    body: str
    note: str


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    bodies: list[str]
    requests: list[Example]
    answers: list[Answer]
    responses: list[Example]


@dataclass(frozen=True)
class Component:
    """A body that operations share."""

    name: str
    description: str
    fields: list[Field]


@cache
def openapi() -> dict[str, Any]:
    """The schema. It is the same for everybody and as long as the process lives."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return schema


@require_GET
def description(request: HttpRequest) -> HttpResponse:
    """OpenAPI as JSON, or as YAML with ?format=yaml."""
    if request.GET.get("format") == "yaml":
        return rendered(OpenApiYamlRenderer(), "application/yaml")
    return rendered(OpenApiJsonRenderer(), "application/json")


def rendered(renderer: Any, content_type: str) -> HttpResponse:
    return HttpResponse(renderer.render(openapi(), renderer_context={}), content_type=content_type)


@require_GET
def description_page(request: HttpRequest) -> HttpResponse:
    """The same, to be read."""
    schema = openapi()
    groups: dict[str, list[Operation]] = {}
    for tag, operation in operations(schema):
        groups.setdefault(tag, []).append(operation)
    components = [
        component(name, found) for name, found in sorted(schema["components"].get("schemas", {}).items()) if found.get("properties")
    ]
    return render(request, "api/docs.html", {"info": schema["info"], "groups": sorted(groups.items()), "components": components})


def operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, Operation]]:
    """Every operation with its first tag, in the order of the addresses."""
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if found := methods.get(method):
                yield next(iter(found.get("tags", ["api"])), "api"), operation(path, method, found)


def operation(path: str, method: str, found: Mapping[str, Any]) -> Operation:
    sent = found.get("requestBody", {}).get("content", {})
    parameters = [
        Field(one["name"], f"{kind_of(one.get('schema', {}))} in {one['in']}", one.get("required", False), one.get("description", ""))
        for one in found.get("parameters", [])
    ]
    answers = [
        Answer(
            status,
            ", ".join(sorted({kind_of(body.get("schema", {})) for body in one.get("content", {}).values()})),
            one.get("description", ""),
        )
        for status, one in sorted(found["responses"].items())
    ]
    return Operation(
        id=found["operationId"],
        method=method.upper(),
        path=path,
        summary=found.get("summary") or path,
        description=found.get("description", ""),
        parameters=parameters,
        bodies=[f"{media_type}: {kind_of(body.get('schema', {}))}" for media_type, body in sent.items()],
        requests=examples(sent),
        answers=answers,
        responses=[
            example for status, one in sorted(found["responses"].items()) for example in examples(one.get("content", {}), f"{status} ")
        ],
    )


def examples(content: Mapping[str, Any], prefix: str = "") -> list[Example]:
    return [
        Example(f"{prefix}{one.get('summary') or name}", media_type, shown(one["value"]))
        for media_type, body in content.items()
        for name, one in body.get("examples", {}).items()
    ]


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def component(name: str, schema: Mapping[str, Any]) -> Component:
    required = schema.get("required", [])
    fields = [Field(key, kind_of(member), key in required, member.get("description", "")) for key, member in schema["properties"].items()]
    return Component(name, schema.get("description", ""), fields)


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of a value in a few words: "integer, 0 to 1000000000"."""
    if reference := schema.get("$ref"):
        return str(reference).rpartition("/")[2]
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(kind_of(choice) for choice in schema[key]))
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {kind_of(schema['additionalProperties'])}"
    return kind + limits_of(schema)


def limits_of(schema: Mapping[str, Any]) -> str:
    """The bounds of a value, as they follow its type."""
    parts = [f"({schema['format']})"] if "format" in schema else []
    if "maximum" in schema:
        parts.append(f"{schema.get('minimum', 0)} to {schema['maximum']:,}")
    elif "minimum" in schema:
        parts.append(f"from {schema['minimum']}")
    if "maxLength" in schema:
        parts.append(f"up to {schema['maxLength']} characters")
    if "pattern" in schema:
        parts.append(f"like {schema['pattern']}")
    return " " + ", ".join(parts) if parts else ""
