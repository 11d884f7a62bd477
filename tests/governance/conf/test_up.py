"""`manage.py up` with real processes: it answers, says in one sentence why it cannot, and leaves nothing behind."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from governance.conf import embedded

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("up")]
ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 90


def environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "BROKER_URL", "VAR", "DJANGO_SETTINGS_MODULE")}
    return {**ours, **more}


def manage(*arguments: str, var: Path, standard_input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environment(VAR=str(var)), input=standard_input, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_up(var: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """An `up` whose page answers; ended hard when the test has not ended it."""
    command = [sys.executable, "manage.py", "up", "--no-demo", "--port", str(port), "--var", str(var)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = []
            for line in process.stdout or ():
                said.append(line)
                if "sign in" in line:
                    break
            else:
                pytest.fail("".join(said))
            assert "WARN" not in "".join(said)  # a stranger's first lines leave nothing to wonder about
            yield process
        finally:
            process.kill()
            process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return not alive


def health(port: int) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def answered(port: int, path: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage]:
    """Status and headers; what follows them is not waited for."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        with closing(connection.getresponse()) as answer:
            return answer.status, answer.headers


def the_worker(process: subprocess.Popen[str]) -> psutil.Process | None:
    return next((child for child in family(process) if is_worker_of(process, child)), None)


def is_worker_of(process: subprocess.Popen[str], child: psutil.Process) -> bool:
    """Whether this is the worker and lives; a process that ends while it is looked at is not."""
    try:
        return child.ppid() == process.pid and child.status() != psutil.STATUS_ZOMBIE and "worker" in child.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def wait_for(found: Callable[[], bool], patience_s: float = 30) -> None:
    until = time.monotonic() + patience_s
    while not found():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a space in its name, kept from one test to the next as on a real machine."""
    return tmp_path_factory.mktemp("weigh house") / "var"


def test_up_answers_shares_its_servers_mends_itself_and_ends_clean(var: Path) -> None:
    port = free_port()
    with running_up(var, port) as process:
        assert health(port) == (200, {"ready": True})

        second = manage("up", "--no-demo", "--port", str(free_port()), var=var)
        assert second.returncode == 1
        assert second.stderr.startswith(f"CommandError: Weighhouse runs at http://localhost:{port} already")
        assert second.stderr.count("\n") == 1

        made = manage("organization", "create", "acme", "--time-zone", "Europe/Berlin", var=var)
        assert made.returncode == 0, made.stderr
        create = ("member", "create", "owner@acme.example", "--organization", "acme", "--role", "owner", "--password-stdin")
        assert manage(*create, var=var, standard_input="short\n").returncode == 1
        assert manage(*create, var=var, standard_input="long enough to keep\n").returncode == 0
        key = manage("key", "create", "--organization", "acme", "--name", "gateway", "--scopes", "ingest,read", var=var)
        assert key.stdout.startswith("wh_")
        assert key.stdout.count("\n") == 1

        key_for_stream = {"Authorization": f"Bearer {key.stdout.strip()}"}
        status, headers = answered(port, "/api/v1/stream", key_for_stream)
        where = urlsplit(headers["Location"])
        assert (status, port < (where.port or 0) <= port + 20) == (307, True)
        assert answered(where.port or 0, where.path, key_for_stream)[1]["Content-Type"] == "text/event-stream; charset=utf-8"

        killed = the_worker(process)
        assert killed is not None
        killed.kill()
        wait_for(lambda: the_worker(process) not in (None, killed))

        children = family(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert all_gone(children)
    assert not embedded.socket_dir(var).is_relative_to(var)
    assert not embedded.socket_dir(var).exists()


def test_up_killed_hard_takes_its_children_along_and_the_next_one_recovers(var: Path) -> None:
    with running_up(var, free_port()) as process:
        children = family(process)
        assert len(children) > 5
        process.kill()
        process.wait()
        assert all_gone(children)
    port = free_port()
    with running_up(var, port) as process:
        assert health(port)[0] == 200
        children = family(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert all_gone(children)


def test_commands_alone_start_the_servers_and_stop_them(var: Path) -> None:
    assert manage("organization", "create", "alone", var=var).returncode == 0
    assert not embedded.is_answering(var)
    refused = manage("organization", "create", "alone", var=var)
    assert (refused.returncode, refused.stderr) == (1, "CommandError: There is an organization named alone already.\n")


def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = manage("up", "--port", str(port), var=tmp_path / "var")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"CommandError: Port {port} on 127.0.0.1 cannot be used (Address already in use): name another one, such as PORT={port + 1}.\n"
    )


def test_data_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = manage("up", "--port", str(free_port()), var=tmp_path / "file" / "var")
    assert refused.returncode == 1
    assert refused.stderr.startswith("CommandError: The data folder ")
    assert refused.stderr.count("\n") == 1


def test_unreachable_database_is_one_sentence(tmp_path: Path) -> None:
    nowhere = environment(VAR=str(tmp_path), DATABASE_URL="postgresql://nobody@127.0.0.1:9/none", BROKER_URL="redis://127.0.0.1:9")
    command = [sys.executable, "manage.py", "up", "--port", str(free_port())]
    refused = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("CommandError: The database of DATABASE_URL cannot be reached")
    assert refused.stderr.count("\n") == 1


def test_servers_listen_on_private_sockets_only(var: Path) -> None:
    with embedded.running(var):
        folder = embedded.socket_dir(var)
        assert folder.stat().st_mode & 0o077 == 0
        with psycopg.connect(embedded.database_url(var)) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
