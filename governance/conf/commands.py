"""Runs a management command with the servers it needs: those that run already, or its own for as long as it lasts."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from governance.conf import embedded

# Commands that need no database, or, like `up`, see to it themselves.
WITHOUT_SERVERS = frozenset({"up", "help", "version", "check", "collectstatic", "diffsettings", "spectacular"})
# A passing command queues nothing that the schedule would not find by itself; a server is asked for its queue.
USES_QUEUE = frozenset({"runserver"})
MIGRATES_ITSELF = frozenset({"migrate", "makemigrations", "showmigrations", "sqlmigrate", "dbshell"})


def run(arguments: Sequence[str]) -> int:
    """Runs `manage.py <arguments>`. Returns the exit code; what went wrong is one sentence on standard error."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
    _adopt_data_folder(arguments)
    try:
        with ExitStack() as stack:
            if needs_servers(arguments):
                _bring_servers(stack, has_queue=arguments[1] in USES_QUEUE, migrate=arguments[1] not in MIGRATES_ITSELF)
            _execute(arguments)
    except embedded.EmbeddedError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("Interrupted.", code=130)
    return 0


def needs_servers(arguments: Sequence[str]) -> bool:
    """Whether the command reads or writes the database; asking for help never does."""
    if len(arguments) < 2 or arguments[1].startswith("-") or arguments[1] in WITHOUT_SERVERS:
        return False
    return not {"-h", "--help"} & set(arguments[2:])


def _adopt_data_folder(arguments: Sequence[str]) -> None:
    """`up --var DIR` is VAR=DIR: the settings read it before the command can."""
    for position, argument in enumerate(arguments):
        if argument == "--var" and position + 1 < len(arguments):
            os.environ["VAR"] = arguments[position + 1]
        elif argument.startswith("--var="):
            os.environ["VAR"] = argument.removeprefix("--var=")


def _bring_servers(stack: ExitStack, *, has_queue: bool, migrate: bool) -> None:
    from django.conf import settings

    parts = [part for part in settings.EMBEDDED if part == "postgres" or has_queue]
    if not parts:
        return
    is_ours = stack.enter_context(embedded.running(settings.VAR_DIR, parts))
    if is_ours and migrate and "postgres" in parts:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)


def _execute(arguments: Sequence[str]) -> None:
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(list(arguments))
    except OperationalError as error:
        if "--traceback" in arguments:
            raise
        raise embedded.EmbeddedError(f"The database does not answer as it should: {str(error).strip().splitlines()[0]}") from error


def _failed(sentence: str, code: int = 1) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201
    return code
