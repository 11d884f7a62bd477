"""What was changed of stored events afterwards: why, by whom, and every event's old and new."""
