"""Reads documents and amounts of price lists exactly: numbers become Decimal as they are written, and nothing odd gets through."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

import msgspec

from governance.errors import Invalid
from governance.money import CONTEXT
from governance.pricing.meters import METERS

# Lists that are kept as binary floats say 1.0000000000000002e-07 for 1e-07.
FLOAT_DIGITS = 12
# No published amount for one unit has its first digit further from the point; what has is no amount.
LARGEST_EXPONENT = 15

_decoder = msgspec.json.Decoder(float_hook=Decimal)


def document(body: bytes) -> Any:
    """The JSON document, numbers with a point as Decimal. Raises Invalid for anything else, and for one nested without end."""
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise Invalid("The list is nested deeper than any price list.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation, ValueError) as problem:
        raise Invalid(f"The list is no JSON: {str(problem)[:200]}. It begins with {_beginning(body)!r}.") from None


def amount(value: Any) -> Decimal | None:
    """The number, None where there is none. Raises Invalid for what is no finite number, or no price by its size; negative ones pass."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Invalid(f"{str(value)[:60]!r} is no amount.")
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise Invalid(f"{value[:60]!r} is no amount." if isinstance(value, str) else "A number in the list is no amount.") from None
    if not found.is_finite() or (found and abs(found.adjusted()) > LARGEST_EXPONENT):
        raise Invalid(f"{str(value)[:60]} is no amount.")
    return found


def rate_of(meter: str, base: Decimal, tiers: Mapping[int, Decimal] | None = None, *, per: int = 1) -> dict[str, Any]:
    """A rate as a price row stores it, from amounts for `per` units each; tiers by the input tokens they begin above."""
    usual = METERS[meter].per
    stored: dict[str, Any] = {"per": usual, "base": text(base, units=usual, per=per)}
    if tiers:
        stored["tiers"] = [[threshold, text(above, units=usual, per=per)] for threshold, above in sorted(tiers.items())]
    return stored


def text(value: Decimal, *, units: int, per: int = 1) -> str:
    """The amount for so many units, exact, without an exponent or needless zeros."""
    whole = CONTEXT.multiply(value, Decimal(units))
    found = whole if per == 1 else CONTEXT.divide(whole, Decimal(per))
    return format(found.normalize(CONTEXT) if found else Decimal(0), "f")


def is_name(value: Any, *, longest: int = 200) -> TypeGuard[str]:
    """Whether it can name a model or provider here: text that can be stored and read."""
    return isinstance(value, str) and 0 < len(value.strip()) <= len(value) <= longest and value.isprintable()


def rounded(value: Decimal) -> Decimal:
    """The number that a binary float stands for."""
    if len(value.as_tuple().digits) <= FLOAT_DIGITS:
        return value
    return Decimal(f"{value:.{FLOAT_DIGITS - 1}E}")


def _beginning(body: bytes) -> str:
    return body[:60].decode("utf-8", "replace").replace("\x00", "\ufffd")
