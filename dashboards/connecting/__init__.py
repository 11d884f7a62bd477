"""How companies connect what they run: each client with its lines to copy, a call in its own format, and the test of its door."""
