"""What views that change things for programs share: scopes by method, bodies that are checked, one answer to each Idempotency-Key."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from django.db.models import Model, QuerySet
from msgspec import inspect
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.budgets.commands import HEADER, REPLAYED, answered_once
from governance.errors import Invalid
from governance.ids import row_id
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope

MAX_BODY_BYTES = 64 * 1024
PAGE = 100
Body = TypeVar("Body", bound=msgspec.Struct)
Row = TypeVar("Row", bound=Model)


class CommandView(APIView):
    """Reading takes the scope `read`, all else `admin`."""

    @property
    def scope(self) -> str:
        return Scope.READ if self.request.method == "GET" else Scope.ADMIN

    @property
    def actor(self) -> Actor:
        return self.request.user  # type: ignore[return-value]

    def answer(self, act: Callable[[], tuple[int, Any]]) -> Response:
        """The change's answer, or the first one under the same key."""
        request = (f"{self.request.method} {self.request.path}", self.request.body)
        status, answer, is_replayed = answered_once(actor=self.actor, key=self.request.headers.get(HEADER), request=request, act=act)
        return Response(answer, status=status, headers={REPLAYED: "true"} if is_replayed else None)


def body_of(request: Request, shape: type[Body]) -> Body:
    """The body as the struct. Raises Invalid with the field."""
    if len(request.body) > MAX_BODY_BYTES:
        raise Invalid(f"A body has at most {MAX_BODY_BYTES:,} bytes.")
    try:
        found = msgspec.json.decode(request.body or b"{}", type=shape)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$.")
        if known := known_values(shape, place):
            sentence = f"{sentence}: {', '.join(known)} are known"
        raise Invalid(f"{sentence}.", **({"field": place.rstrip("`")} if place else {})) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("The body is not JSON.") from error
    if b"\\u0000" in request.body:
        _nul_check(found)
    return found


def _nul_check(found: msgspec.Struct) -> None:
    """Raises Invalid, with the field, for text with a NUL anywhere within, which no column can hold."""
    for field in found.__struct_fields__:
        if _has_nul(msgspec.to_builtins(getattr(found, field))):
            raise Invalid("Text must not contain NUL characters.", field=field)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    within = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_has_nul(one) for one in within)


def known_values(shape: Any, place: str) -> tuple[str, ...]:
    """The texts of which one stands at a place such as `conditions[...].op` of a body; empty where any may."""
    kind = inspect.type_info(shape)
    for name in re.findall(r"[a-z]\w*", place):
        fields = next((one.fields for one in kinds_within(kind) if isinstance(one, inspect.StructType)), ())
        kind = next((field.type for field in fields if field.encode_name == name), inspect.AnyType())
    literal = next((one for one in kinds_within(kind) if isinstance(one, inspect.LiteralType)), None)
    return tuple(str(value) for value in literal.values if value != "") if literal else ()


def kinds_within(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The type itself, or those that it is one of or a list of."""
    match kind:
        case inspect.Metadata():
            yield from kinds_within(kind.type)
        case inspect.UnionType():
            for one in kind.types:
                yield from kinds_within(one)
        case inspect.ListType():
            yield from kinds_within(kind.item_type)
        case _:
            yield kind


def number_asked(request: Request, name: str) -> int | None:
    """A whole number of the query, None without one. Raises Invalid for anything else."""
    text = request.query_params.get(name, "")
    number = row_id(text)
    if text and number is None:
        raise Invalid("A whole number is expected.", field=name)
    return number


def newest_page(request: Request, rows: QuerySet[Row]) -> tuple[list[Row], int | None]:
    """The newest rows made before the one whose id `before` of the query is, and what goes into `before` for older ones: None at the end."""
    before = number_asked(request, "before")
    found = list((rows if before is None else rows.filter(pk__lt=before)).order_by("-pk")[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None


def zoned(given: msgspec.Struct, *fields: str) -> None:
    """Raises Invalid with the field for an instant that does not say its offset."""
    for field in fields:
        if getattr(given, field).tzinfo is None:
            raise Invalid("Say in which time zone: with an offset, or Z.", field=field)
