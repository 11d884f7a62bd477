"""The first start: whether anybody is here yet, and the one transaction that makes the first owner."""

from django.db import connection, transaction
from django.utils.text import slugify

from governance.tenancy import services
from governance.tenancy.models import Member, User

LOCK = 7_305_822_114  # of this transaction only: two first admins at once become one


def is_unused() -> bool:
    """Whether no account exists at all."""
    return not User.objects.exists()


@transaction.atomic
def first_admin_create(*, organization_name: str, time_zone: str, email: str, password: str) -> Member | None:
    """Makes the organization and its owner. None when somebody else was first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if not is_unused():
        return None
    slug = slugify(organization_name)[:50] or "main"
    organization = services.organization_create(slug=slug, name=organization_name, owner_email=email, owner_password=password, time_zone=time_zone)
    return Member.objects.select_related("organization", "user").get(organization=organization)
