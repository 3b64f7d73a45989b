"""Tells people what a session did: the report, its text, the services it goes to, and what could not be sent yet."""
