"""watchtower_async keeps running containers on the image their tag points to."""

__version__ = "0.1.0"
