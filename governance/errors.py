"""Errors that services raise and edges turn into problem+json (RFC 9457) or a sentence on a page."""

from typing import Any


class DomainError(Exception):
    """A refusal with a stable code. `detail` is a sentence for people, `extra` goes into the problem document."""

    code = "error"
    status = 400
    title = "The request was refused"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class Invalid(DomainError):
    """The input breaks a rule; `field` in extra names where."""

    code = "invalid"
    status = 422
    title = "Something in the request is not valid"


class NotFound(DomainError):
    """Nothing there that the actor may know of."""

    code = "not_found"
    status = 404
    title = "Not found"


class Forbidden(DomainError):
    """The actor may see the thing but not do this with it."""

    code = "forbidden"
    status = 403
    title = "You may not do this"


class Conflict(DomainError):
    """The thing is no longer in the state the request assumes."""

    code = "conflict"
    status = 409
    title = "The state has changed"


class PaymentRequired(DomainError):
    """A budget or a freeze stands against the call."""

    code = "budget_exceeded"
    status = 402
    title = "A budget or a freeze stands against this call"
