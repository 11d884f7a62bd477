"""Where no mail server is named, the log says what would be sent, in one line, and a file keeps the whole of it."""

import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import get_connection, send_mail

BACKEND = "governance.conf.mail.LogBackend"


def send(subject: str = "Frozen: session s1") -> int:
    return send_mail(subject, "Spent: 100 USD", "scale@acme.example", ["lead@acme.example"], connection=get_connection(BACKEND))


def test_log_has_one_line_and_the_file_the_message(tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.VAR_DIR = tmp_path
    with caplog.at_level(logging.INFO):
        assert send() == 1
        assert send("Granted") == 1
    kept = tmp_path / "log" / "mail.log"
    assert caplog.messages[0] == f"to lead@acme.example: Frozen: session s1 (in {kept})"
    assert kept.read_text().count("Spent: 100 USD") == 2


def test_without_a_data_folder_the_log_has_the_message(tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / "file"
    with caplog.at_level(logging.INFO):
        send()
    assert "Spent: 100 USD" in caplog.messages[0]
