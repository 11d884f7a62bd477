"""One owner runs the servers of a data folder; users keep a passing owner from stopping them."""

import os
import threading
from pathlib import Path

import pytest

from governance.conf import ownership
from governance.conf.ownership import Owned, Owner


def test_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    with ownership.owning(tmp_path, "http://localhost:8000"), pytest.raises(Owned) as refused, ownership.owning(tmp_path):
        pass
    assert refused.value.owner == Owner(os.getpid(), "http://localhost:8000")


def test_folder_is_free_once_its_owner_is_done(tmp_path: Path) -> None:
    with ownership.owning(tmp_path):
        assert ownership.owner_of(tmp_path) is not None
    assert ownership.owner_of(tmp_path) is None


def test_passing_owner_waits_for_the_last_user(tmp_path: Path) -> None:
    done = threading.Event()

    def owner_ends() -> None:
        with ownership.using(tmp_path) as users:
            ownership.wait_for_last_user(users)
            done.set()

    with ownership.using(tmp_path):
        waiting = threading.Thread(target=owner_ends)
        waiting.start()
        assert not done.wait(0.2)
    assert done.wait(5)
    waiting.join()
