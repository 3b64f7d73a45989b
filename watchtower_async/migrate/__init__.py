"""From Watchtower to this program: what carries over, what changes meaning, and the new compose service.

A service is read from a compose file, from what `docker inspect` says, or from an engine. The rest is pure: the same
declarations that read our own settings judge what stands there, so nothing here knows an option by heart except for
what it meant in Watchtower.
"""
