"""Quarantine: rules that mend what could not be counted, at the door and of what is kept; replaying; telling when it grows."""
