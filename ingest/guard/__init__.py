"""The runaway guard: rules over what a session did lately, what they find, and what is done about it."""
