"""Exceptions: promises that could not be kept.

Expected results are values with a reason (a verdict, an outcome). A class exists here only where somebody handles it
differently from its parent. A message names the object and the remedy, never a secret.
"""

from __future__ import annotations

from typing import ClassVar


class WatchtowerError(Exception):
    """Parent of everything this package raises on purpose."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class SettingsError(WatchtowerError):
    """The command line or the environment cannot be used. Holds every problem, not only the first."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidReferenceError(WatchtowerError):
    """The text is not an image reference."""


class CredentialError(WatchtowerError):
    """A credential is configured for this registry but cannot be used."""


class CredentialFileInvalidError(CredentialError):
    """The configuration file as a whole cannot be read."""


class RegistryError(WatchtowerError):
    """A registry could not answer. `host` is the registry's host and port."""

    def __init__(self, message: str, *, host: str) -> None:
        super().__init__(message)
        self.host = host


class RegistryUnavailableError(RegistryError):
    """Connection, time-out, TLS, DNS, or a 5xx answer."""

    transient = True

    def __init__(self, message: str, *, host: str, connected: bool) -> None:
        super().__init__(message, host=host)
        self.connected = connected
        """False when no HTTP exchange took place (DNS, refused, TLS): then the engine may still reach the registry."""


class RateLimitedError(RegistryError):
    """429, or a registry that is waiting one out. `retry_after` is in seconds from now, None when unknown."""

    transient = True

    def __init__(self, message: str, *, host: str, retry_after: float | None) -> None:
        super().__init__(message, host=host)
        self.retry_after = retry_after


class UnauthorizedError(RegistryError):
    """The credential was refused, or none was found and one is needed."""


class DeniedError(RegistryError):
    """Known to the registry, but not allowed."""


class ManifestNotFoundError(RegistryError):
    """The tag or the repository does not exist (or is hidden from us)."""


class ProtocolViolationError(RegistryError):
    """The registry or its token service broke the specification, or asked for something unsafe."""


class EngineError(WatchtowerError):
    """The engine refused or failed. `status` is its HTTP status, 0 when there was none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class EngineUnavailableError(EngineError):
    """The engine cannot be reached, went away in the middle, or did not answer in time."""

    transient = True


class NoSuchObjectError(EngineError):
    """404: the container, image, network or endpoint does not exist."""


class EngineConflictError(EngineError):
    """409: name in use, removal in progress, image in use."""


class PullFailedError(EngineError):
    """The engine could not pull the image. The message is the engine's own."""

    def __init__(
        self, message: str, *, status: int = 0, out_of_space: bool = False, login_refused: bool = False
    ) -> None:
        super().__init__(message, status=status)
        self.out_of_space = out_of_space
        self.login_refused = login_refused


class PredecessorLostError(WatchtowerError):
    """Putting the predecessor back failed: a person must look at this container now."""
