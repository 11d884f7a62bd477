"""A house to walk through: the product as a process of its own, on a database of its own, with a small complete demo in it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ("demo", "load", "--days", "45", "--events", "6000", "--processes", "1")
OWNER, LEAD, ENGINEER = (f"{name}@northwind.example" for name in ("ana.ruiz", "jonas.weber", "mira.kovac"))
SLUG = "northwind"


@dataclass(frozen=True)
class House:
    """Where the product answers, what it runs on, and the environment that its commands need."""

    url: str
    database_url: str
    environment: Mapping[str, str] = field(repr=False)
    password: str = field(default="", repr=False)

    def command(self, *words: str, said: str = "") -> str:
        """What `manage.py …` prints."""
        done = subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=dict(self.environment), input=said, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def one(self, query: str) -> str:
        """The first value that the query finds."""
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(query).fetchone()
        assert found is not None, query
        return str(found[0])

    def key(self, *scopes: str, organization: str = SLUG) -> str:
        """A new API key's secret."""
        name = f"key {time.monotonic_ns()}"
        return self.command("key", "create", "--organization", organization, "--name", name, "--scopes", ",".join(scopes))

    def post(self, key: str, body: object) -> httpx.Response:
        return httpx.post(f"{self.url}/api/v1/events", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@contextmanager
def opened(folder: Path, *, demo: bool) -> Iterator[House]:
    """A house on a new database beside the tests' own, with the demo in it or empty; taken down afterwards."""
    name = f"pages_{os.getpid()}_{time.monotonic_ns()}"
    home = os.environ["DATABASE_URL"]
    with psycopg.connect(home, autocommit=True) as connection:
        template = os.environ.get("WEIGHHOUSE_TEST_TEMPLATE", "template1")
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield from _served(folder, urlunsplit(urlsplit(home)._replace(path=f"/{name}")), demo=demo)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _served(folder: Path, database_url: str, *, demo: bool) -> Iterator[House]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "DATABASE_URL": database_url, "BROKER_URL": "redis://127.0.0.1:1/0", "VAR": str(folder), "PUBLIC_URL": url, "WEIGHHOUSE_DEMO_SIGN_IN": "1", "DEBUG": "0",
    }  # fmt: skip
    house = House(url, database_url, environment)
    house.command("migrate", "-v0")
    if demo:
        house.command(*DEMO)
        house = House(url, database_url, environment, (folder / "demo-passwords.txt").read_text().split()[1])
    granian = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--blocking-threads", "4", "--no-ws"]
    with (folder / "server.log").open("wb") as log, subprocess.Popen([*granian, "governance.conf.wsgi:application"], cwd=ROOT, env=environment, stdout=log, stderr=log) as server:
        try:
            _wait_for(url, server)
            yield house
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            httpx.get(f"{url}/sign-in", timeout=20)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not begin to answer")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def addresses(house: House) -> dict[str, str]:
    """The value of every named part of an address, so that each page has something to show."""
    organization = f"organization_id = (SELECT id FROM organization WHERE slug = '{SLUG}')"
    return {
        "slug": SLUG,
        "key": house.one(f"SELECT key FROM session WHERE {organization} ORDER BY cost DESC LIMIT 1"),
        "budget_id": house.one(f"SELECT id FROM budget WHERE {organization} AND scope_kind = 'team' ORDER BY id LIMIT 1"),
        "request_id": house.one(f"SELECT id FROM approval_request WHERE {organization} LIMIT 1"),
        "team_id": house.one(f"SELECT id FROM team WHERE {organization} ORDER BY id LIMIT 1"),
        "member_id": house.one(f"SELECT id FROM member WHERE {organization} ORDER BY id LIMIT 1"),
        "key_id": house.one(f"SELECT id FROM api_key WHERE {organization} ORDER BY id LIMIT 1"),
        "rejected_id": house.one(f"SELECT id FROM rejected_input WHERE {organization} LIMIT 1"),
        "rule_id": house.one(f"SELECT id FROM guard_rule WHERE {organization} ORDER BY id LIMIT 1"),
        "finding_id": house.one(f"SELECT id FROM guard_finding WHERE {organization} ORDER BY id DESC LIMIT 1"),
        **json.loads(house.command("shell", "-v0", "-c", f"from tests.browser.rows import rows_made; print(rows_made({SLUG!r}, {OWNER!r}))")),
    }


def parts_of(route: str) -> set[str]:
    """The names in a route's angle brackets."""
    return set(re.findall(r"<(?:\w+:)?(\w+)>", route))
