"""A mail server that speaks enough SMTP to accept, and to refuse the recipients and messages it is told to."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """Listens on a free port of the loopback interface. `received` are the messages taken; `refused` are addresses answered with 550."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.received: list[Message] = []
        self.refused: set[str] = set()
        self.hangs_up_after_taking = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Conversation(socketserver.StreamRequestHandler):
    """One connection."""

    server: MailServer

    def handle(self) -> None:
        self.say("220 ready")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "QUIT":
                return self.say("221 bye")
            if verb == "DATA":
                if not self.take():
                    return None
            elif verb == "RCPT" and any(address in line for address in self.server.refused):
                self.say("550 no such mailbox")
            else:
                self.say("250 fine")
        return None

    def take(self) -> bool:
        """Reads the message; False when the connection is to end without an answer."""
        self.say("354 go on")
        lines: list[str] = []
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            lines.append(line)
        self.server.received.append(message_from_string("\n".join(lines)))
        if self.server.hangs_up_after_taking:
            return False
        self.say("250 taken")
        return True

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def running() -> Iterator[MailServer]:
    """A mail server for the length of a test."""
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def subjects(server: MailServer) -> list[Any]:
    return [message["Subject"] for message in server.received]
