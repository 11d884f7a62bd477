"""Whatever is asked of attribution, imports, quarantine and the check, the answer is one that the description names, and nothing breaks."""

import gzip
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.utils import timezone
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from governance.attribution.services import rule_create
from governance.conf.wsgi import application
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope, Team
from ingest.importing.services import import_create
from ingest.models import RejectedInput
from ingest.quarantine.services import rule_create as mending_create
from tests.conftest import key_of
from tests.ingest.doors.test_fuzz import EXAMPLES, connection_kept
from tests.ingest.few_prices import few_prices

__all__ = ["connection_kept", "few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices", "connection_kept")]
schema = schemathesis.openapi.from_wsgi("/api/schema", application)
CHECKS = [not_a_server_error, response_schema_conformance]
FEW = max(EXAMPLES // 10, 5)


@schemathesis.serializer("application/gzip")
def packed(_: Any, value: Any) -> bytes:
    return gzip.compress(value if isinstance(value, bytes) else str(value).encode(errors="replace"))


@pytest.fixture
def there(organization: Organization, admin: Member, team: Team) -> dict[str, Any]:
    """One of each thing, by its name in addresses. Made without Django's test client, which would have connections closed again."""
    actor = member_actor(admin)
    kept = RejectedInput.objects.create(
        organization=organization, kind="rejected", door="rest", code="unknown_field", field="colour", reason="colour is no field.", payload=b'{"colour":1}', received_at=timezone.now()
    )  # fmt: skip
    rule = rule_create(actor=actor, name="Shop", conditions=[{"field": "repository", "op": "is", "values": ["acme/shop"]}], team=team)
    return {
        "attribution_id": rule.pk, "mending_id": mending_create(actor=actor, action="drop", field="flavour").pk, "rejected_id": kept.pk, "member_id": admin.pk,
        "import_id": import_create(actor=actor, file_name="some.csv", sent=iter([b"day,model,input_tokens\n2026-11-20,gpt-5,10\n"])).pk,
    }  # fmt: skip


@schema.include(path_regex="^/api/v1/(attribution-(rules|runs)|members|imports|quarantine)").parametrize()
@settings(max_examples=FEW)
def test_the_description_and_what_is_answered_agree(case: schemathesis.Case, organization: Organization, there: dict[str, Any]) -> None:
    key = key_of(organization, Scope.READ, Scope.ADMIN, name=f"fuzz {uuid4()}")
    for name in case.path_parameters:
        case.path_parameters[name] = there.get(name, case.path_parameters[name])
    case.call_and_validate(headers={"Authorization": f"Bearer {key.secret}"}, checks=CHECKS)


@schema.include(path_regex="^/api/v1/check").parametrize()
@settings(max_examples=FEW)
def test_the_check_answers_as_it_is_described(case: schemathesis.Case, organization: Organization) -> None:
    key = key_of(organization, Scope.AUTHORIZE, name=f"fuzz {uuid4()}")
    case.headers.pop("X-Weighhouse-Key", None)
    case.call_and_validate(headers={"Authorization": f"Bearer {key.secret}"}, checks=[*CHECKS, status_code_conformance])
