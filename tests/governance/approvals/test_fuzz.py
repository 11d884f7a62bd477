"""Whatever is sent to freezes, approval policies, delegations, terms and exchange rates gets an answer of the shape that is described, and never breaks."""

from uuid import uuid4

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from governance.conf.wsgi import application
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import key_of
from tests.ingest.doors.test_fuzz import EXAMPLES, connection_kept

__all__ = ["connection_kept"]
pytestmark = pytest.mark.django_db
schema = schemathesis.openapi.from_wsgi("/api/schema", application)


@schema.include(path_regex="^/api/v1/(check$|freezes|approval-policies|delegations|prices/(terms|balances|markups)|exchange-rates)").parametrize()
@settings(max_examples=max(EXAMPLES // 4, 5))
@pytest.mark.usefixtures("connection_kept")
def test_the_description_and_what_is_answered_agree(case: schemathesis.Case, organization: Organization, admin: Member) -> None:
    key = key_of(organization, Scope.READ, Scope.ADMIN, name=f"fuzz {uuid4()}", member=admin)
    case.call_and_validate(headers={"Authorization": f"Bearer {key.secret}"}, checks=[not_a_server_error, response_schema_conformance])
