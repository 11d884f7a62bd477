"""Children are started again when they fail, run once when they should, and are gone afterwards."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from governance.conf import processes
from governance.conf.processes import Program
from governance.conf.supervisor import Supervisor

HERE = Path(__file__).parent


def program(code: str, name: str = "web") -> Program:
    return Program(name, [sys.executable, "-c", code], HERE)


def turn_until(supervisor: Supervisor, condition: object, patience_s: float = 15) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until
        supervisor.turn(0.05)


def test_output_carries_the_name_of_who_said_it(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor()
    codes: list[int] = []
    supervisor.add(program("print('one'); print('two', end='')"), when_done=codes.append)
    turn_until(supervisor, lambda: codes == [0])
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["web      one", "web      two"]


def test_failed_child_starts_again_after_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor()
    child = supervisor.add(program("import sys; print('here'); sys.exit(3)"))
    turn_until(supervisor, lambda: child.failures == 2)
    supervisor.stop()
    said = capsys.readouterr().out
    assert "web ended with code 3; it starts again in 1 s" in said
    assert "web ended with code 3; it starts again in 2 s" in said


def test_stop_ends_a_child_that_will_not_and_what_it_started() -> None:
    supervisor = Supervisor()
    stubborn = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.Popen(['sleep', '600']); time.sleep(600)"
    child = supervisor.add(program(stubborn))
    assert child.process is not None
    family = psutil.Process(child.process.pid)
    turn_until(supervisor, lambda: bool(family.children()))
    everyone = [family, *family.children()]
    supervisor.stop(patience_s=0.3)
    _, alive = psutil.wait_procs(everyone, timeout=5)
    assert not alive


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "child"
    parent_code = (
        "import sys, time; from pathlib import Path; from governance.conf.processes import Program, start\n"
        f"child = start(Program('x', [sys.executable, '-c', 'import time; time.sleep(600)'], Path('.')))\n"
        f"Path({str(note)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], cwd=HERE.parents[2])
    until = time.monotonic() + 15
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    child = psutil.Process(int(note.read_text()))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user takes root")
def test_other_user_passes_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    import pwd

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    inner = closed / "inner"
    inner.mkdir()
    inner.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    asked = Program("who", ["/bin/sh", "-c", "id -u; ls -d ."], inner, user=nobody)
    with (tmp_path / "said").open("wb+") as said:
        assert processes.run(asked, said) == 0
        said.seek(0)
        assert said.read().decode().split() == [str(nobody.pw_uid), "."]
