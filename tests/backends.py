"""The server processes that connections speak to, ended as an operator or a crash ends them."""

import psycopg
from django.db import connection


def backend_end() -> None:
    """Ends that of our connection, which learns of it with its next statement. Returns once it is gone."""
    ours = connection.connection.info
    with psycopg.connect(ours.dsn, password=ours.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [ours.backend_pid])
