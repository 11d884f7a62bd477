"""The database the tests run on, and the people in them: two organizations, an admin, a lead, an engineer and a stranger."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dj_database_url
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.models.signals import post_migrate
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from rest_framework.test import APIClient

from governance.conf import embedded, lending
from governance.pricing.models import PriceBook
from governance.tenancy import keys
from governance.tenancy.models import ApiKey, Member, Organization, Role, Scope, Team, User
from tests.price_books import book_of_one_provider, book_of_the_pages, empty_shelf, whole_book

__all__ = ["book_of_one_provider", "book_of_the_pages", "empty_shelf", "whole_book"]

PASSWORD = "correct horse battery"  # of people who live for one test
ROOT = Path(__file__).resolve().parent.parent
SERVER = pytest.StashKey[ExitStack]()
TEMPLATE = "weighhouse_template"
TEMPLATE_NAMED = "WEIGHHOUSE_TEST_TEMPLATE"  # tells the workers of xdist, and the house of the browser's tests
# The tests lose nothing when the machine does.
HASTE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
hypothesis_settings.register_profile("weighhouse", deadline=None, suppress_health_check=QUIET)
hypothesis_settings.load_profile("weighhouse")


def pytest_configure(config: pytest.Config) -> None:
    """Starts the embedded servers unless DATABASE_URL names one. Workers of xdist use those of the process that started them."""
    settings.CELERY_BROKER_URL = "memory://"
    settings.PRICE_KEEPERS = ["acme"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if os.environ.get("DATABASE_URL"):
        return
    stack = ExitStack()
    config.stash[SERVER] = stack
    folder = Path(tempfile.mkdtemp(prefix="weighhouse-tests-"))
    stack.callback(shutil.rmtree, folder)
    folder.chmod(0o755)  # the servers' own user passes through it when the tests run as root
    stack.enter_context(embedded.running(folder, settings=HASTE))
    os.environ["DATABASE_URL"] = embedded.database_url(folder)
    template_make(embedded.database_url(folder, TEMPLATE))
    found, address = connections.settings["default"], dj_database_url.parse(os.environ["DATABASE_URL"])
    found.update(address, OPTIONS={**found.get("OPTIONS", {}), **address["OPTIONS"]})


def template_make(address: str) -> None:
    """The migrated database that those of the tests are copies of: migrations run once, and not for each process."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connected:
        connected.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    command = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": address}, check=True)
    os.environ[TEMPLATE_NAMED] = TEMPLATE


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops the servers that this process started."""
    if SERVER in config.stash:
        connections.close_all()
        del os.environ["DATABASE_URL"], os.environ[TEMPLATE_NAMED]
        config.stash[SERVER].close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Has the database of the tests made from the template where there is one."""
    if name := os.environ.get(TEMPLATE_NAMED):
        connections.settings["default"]["TEST"]["TEMPLATE"] = name


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The migrated database. What migrations put in comes back after a test that empties the tables."""
    post_migrate.connect(_price_book_again, dispatch_uid="tests")
    yield
    post_migrate.disconnect(dispatch_uid="tests")
    # Served requests have left them; the database is dropped next.
    lending.connections_close()


def _price_book_again(**_: Any) -> None:
    PriceBook.objects.get_or_create(defaults={"version": 0, "source_digest": ""})


@pytest.fixture
def transactional_db(transactional_db: None) -> Iterator[None]:
    """A database whose commits are real. Django empties the tables it manages afterwards, this the partitioned one.

    Before as well: tests that are only marked as transactional leave their events behind.
    """
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE usage_event")
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE usage_event")


@dataclass(frozen=True)
class KeyInHand:
    """An API key with its secret."""

    row: ApiKey
    secret: str


def person(organization: Organization, *, email: str, role: Role, team: Team | None = None, **fields: Any) -> Member:
    """A member who signs in with PASSWORD."""
    user = User.objects.create_user(email, PASSWORD, name=email.partition("@")[0].title())
    return Member.objects.create(organization=organization, user=user, role=role, team=team, **fields)


def key_of(organization: Organization, *scopes: Scope, name: str = "gateway", **fields: Any) -> KeyInHand:
    """An API key of the organization with these scopes, or with ingest, authorize and read."""
    secret, prefix = keys.new_secret()
    row = ApiKey.objects.create(
        organization=organization,
        name=name,
        prefix=prefix,
        secret_hash=keys.secret_hash(secret),
        scopes=list(scopes) or [Scope.INGEST, Scope.AUTHORIZE, Scope.READ],
        **fields,
    )
    return KeyInHand(row, secret)


def client_with(key: KeyInHand) -> APIClient:
    """A client that posts JSON with the key."""
    client = APIClient()
    client.default_format = "json"
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key.secret}")
    return client


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(slug="acme", name="Acme", time_zone="Europe/Berlin")


@pytest.fixture
def other_organization(db: None) -> Organization:
    return Organization.objects.create(slug="globex", name="Globex", time_zone="America/New_York")


@pytest.fixture
def team(organization: Organization) -> Team:
    return Team.objects.create(organization=organization, slug="platform", name="Platform")


@pytest.fixture
def admin(organization: Organization) -> Member:
    return person(organization, email="admin@acme.example", role=Role.ADMIN)


@pytest.fixture
def lead(organization: Organization, team: Team) -> Member:
    return person(organization, email="lead@acme.example", role=Role.APPROVER, team=team)


@pytest.fixture
def engineer(organization: Organization, team: Team) -> Member:
    return person(organization, email="engineer@acme.example", role=Role.ENGINEER, team=team)


@pytest.fixture
def stranger(other_organization: Organization) -> Member:
    return person(other_organization, email="stranger@globex.example", role=Role.ADMIN)


@pytest.fixture
def api_key(organization: Organization) -> KeyInHand:
    return key_of(organization)


@pytest.fixture
def api(api_key: KeyInHand) -> APIClient:
    """Posts as the organization's gateway."""
    return client_with(api_key)
