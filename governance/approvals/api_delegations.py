"""API edge of delegations: who decides in whose stead, named by the person for as long as they are away."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from governance.approvals import delegations
from governance.approvals.answers import PersonOut
from governance.approvals.views import PROBLEMS, ScopedView, valid
from governance.errors import Invalid
from governance.tenancy.access import scoped
from governance.tenancy.models import Member, Scope

EXAMPLE: dict[str, Any] = {
    "id": 12,
    "delegator": {"id": 3, "name": "Kim", "email": "kim@example.com"},
    "delegate": {"id": 5, "name": "Sam", "email": "sam@example.com"},
    "starts_at": "2026-11-23T08:00:00Z",
    "ends_at": "2026-11-30T08:00:00Z",
}


class DelegationIn(serializers.Serializer[Any]):
    """Name somebody who decides in one's stead."""

    delegate = serializers.EmailField(help_text="the member's address")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class DelegationOut(serializers.Serializer[Any]):
    """A delegation that is not over."""

    id = serializers.IntegerField()
    delegator = PersonOut()
    delegate = PersonOut()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class DelegationsOut(serializers.Serializer[Any]):
    items = DelegationOut(many=True)


class Delegations(ScopedView):
    """GET and POST /api/v1/delegations."""

    scopes = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(
        operation_id="delegations_list", tags=["delegations"], summary="Who stands in for whom",
        description="What the key's holder has named and is named in, as far as it is not over; for whoever manages the organization everybody's.",
        responses={200: DelegationsOut},
        examples=[OpenApiExample("Kim is away", response_only=True, status_codes=["200"], value={"items": [EXAMPLE]})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response({"items": DelegationOut(delegations.delegations_seen(self.actor), many=True).data})

    @extend_schema(
        operation_id="delegations_create", tags=["delegations"], summary="Name somebody who decides in one's stead",
        description="Needs a key with the scope `admin` that belongs to the member who is away. One delegate at a time; nobody stands in for each other.",
        request=DelegationIn, responses={201: DelegationOut, **PROBLEMS},
        examples=[
            OpenApiExample("A week away", request_only=True, value={name: EXAMPLE[name] for name in ("starts_at", "ends_at")} | {"delegate": "sam@example.com"}),
            OpenApiExample("Named", response_only=True, status_codes=["201"], value=EXAMPLE),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        asked = valid(DelegationIn(data=request.data))
        delegate = scoped(self.actor, Member.objects.select_related("user")).filter(user__email__iexact=asked["delegate"]).first()
        if delegate is None:
            raise Invalid("There is no such member here.", field="delegate")
        made = delegations.delegation_create(actor=self.actor, delegate=delegate, starts_at=asked["starts_at"], ends_at=asked["ends_at"])
        return Response(DelegationOut(made).data, status=201)


class OneDelegation(ScopedView):
    """DELETE /api/v1/delegations/<id>."""

    scopes = {"DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="delegations_end", tags=["delegations"], summary="Take a delegation back at once",
        description="The delegator's own to do, or that of whoever manages the organization. Twice is the same as once. What was voted meanwhile stands.",
        responses={204: None, **PROBLEMS},
    )  # fmt: skip
    def delete(self, request: Request, delegation_id: int) -> Response:
        delegations.delegation_end(actor=self.actor, delegation_id=delegation_id)
        return Response(status=204)
