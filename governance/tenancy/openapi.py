"""OpenAPI of what drf-spectacular does not know by itself: msgspec structs, API keys, and problem documents.

A struct may carry `field_notes`, a sentence for each field that its name does not explain.
"""

from inspect import cleandoc
from typing import Any

import msgspec
from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiResponse

REFERENCE = "#/components/schemas/{name}"
UNKNOWN_TO_3_0 = ("propertyNames", "prefixItems")
# For views that look the key up in a way of their own, which to the caller is the same. The library's annotation says less than it takes.
KEY_NEEDED: Any = [{"apiKey": []}]
KEY_REFUSALS = {
    "401": "The key is missing, unknown, revoked or expired, or its holder is no longer active.",
    "403": "The key lacks the scope, or its holder the right.",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it, with a `code` that stays the same from version to version."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""


def problems(*statuses: int, **sentences: str) -> dict[tuple[int, str], OpenApiResponse]:
    """Responses for extend_schema: problem documents for these statuses; `s413="…"` says when a status comes."""
    told = {int(name[1:]): sentence for name, sentence in sentences.items()}
    return {
        (status, "application/problem+json"): OpenApiResponse(Problem, description=told.get(status, ""))
        for status in sorted({*statuses, *told})
    }


def completed(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's last word on the schema: what every operation that takes a key has in common, and its group by its address."""
    for path, methods in result["paths"].items():
        for operation in methods.values():
            if operation.get("tags") == ["api"]:
                operation["tags"] = [path.split("/")[3]]
            if operation.get("security"):
                for status, sentence in KEY_REFUSALS.items():
                    operation["responses"].setdefault(status, _refusal(sentence))
    return result


def _refusal(sentence: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name=Problem.__name__)}
    return {"description": sentence, "content": {"application/problem+json": {"schema": schema}}}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Bearer keys."""

    target_class = "governance.tenancy.authentication.ApiKeyAuthentication"
    match_subclasses = True
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer wh_…`."}


class StructSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A msgspec struct as a component. What may be absent is not shown as nullable: absent is how unknown is said here."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        set_override(self.target, "suppress_collision_warning", True)
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        _, components = msgspec.json.schema_components([self.target], ref_template=REFERENCE)
        shown = {name: _noted(_without_null(schema)) for name, schema in components.items()}
        own = shown.pop(self.target.__name__)
        for name, schema in shown.items():
            component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema)  # type: ignore[no-untyped-call]
            auto_schema.registry.register_on_missing(component)
        notes = getattr(self.target, "field_notes", {})
        for name, schema in own["properties"].items():
            if name in notes:
                schema["description"] = notes[name]
        return own


def _without_null(schema: Any) -> Any:
    """The schema with `X or null` reduced to X where null stands for absent, and said as OpenAPI 3.0 says it elsewhere."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "prefixItems" in schema:  # 3.0 knows no list that says what stands at which place
        schema = schema | {"items": {"anyOf": schema["prefixItems"]}}
    kept = {name: _without_null(item) for name, item in schema.items() if name not in UNKNOWN_TO_3_0 and not _says_absent(name, item)}
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        is_always_there = kept.pop("anyOf") != choices and "default" not in schema
        return kept | choices[0] | ({"nullable": True} if is_always_there else {})
    return kept


def _says_absent(name: str, item: Any) -> bool:
    return name == "default" and item in (None, "")


def _noted(schema: dict[str, Any]) -> dict[str, Any]:
    """Decimals travel as JSON numbers or as text, so both are shown; the struct's docstring is shown without its indent."""
    if "description" in schema:
        schema["description"] = cleandoc(schema["description"])
    if schema.get("required") == []:
        del schema["required"]
    for member in schema.get("properties", {}).values():
        for place in (member, member.get("additionalProperties")):
            if isinstance(place, dict) and place.get("format") == "decimal":
                amount: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "format": "decimal"}]}
                amount |= {"nullable": True} if place.get("nullable") else {}
                place.clear()
                place.update(amount)
    return schema
