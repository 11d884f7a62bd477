"""What a process does that guesses passwords."""

from django.test import Client


def guess(email: str, times: int) -> list[bool]:
    """Tries wrong passwords. Returns of each whether it was refused for being one too many."""
    answers = [Client(headers={"host": "localhost"}).post("/sign-in", {"login": email, "password": f"guess {number}"}) for number in range(times)]
    return [answer.status_code == 429 or b"Too many" in answer.content for answer in answers]
