"""The logins that a group of images is pulled with, and the wait for another one.

A registry may refuse a pull although it answered the check before: a login that lives for hours has just run out, or
was taken away. Whoever renews it writes it where we read it, so the pull waits for that, for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from watchtower_async.credentials.credential import Anonymous, Credential
from watchtower_async.credentials.store import StoreState
from watchtower_async.errors import CredentialError
from watchtower_async.images.reference import Reference

Login = Credential | Anonymous | CredentialError
"""What is configured for an image, or why nobody can say."""


class Credentials(Protocol):
    """The credential store, as pulls need it."""

    @property
    def is_watched(self) -> bool:
        """Say whether changes are noticed by themselves, so that waiting for one makes sense."""

    @property
    def state(self) -> StoreState:
        """Return what is in use, and what is wrong."""

    async def state_after(self, known: StoreState) -> StoreState:
        """Wait until the state is another than this one, and return it."""

    async def credential_for(self, reference: Reference) -> Credential | Anonymous:
        """Return the credential for an image. Raises CredentialError."""


async def look_up(credentials: Credentials, references: Iterable[Reference]) -> dict[Reference, Login]:
    """Return what is configured for each image."""
    found: dict[Reference, Login] = {}
    for reference in references:
        try:
            found[reference] = await credentials.credential_for(reference)
        except CredentialError as error:
            found[reference] = error
    return found


async def await_another(credentials: Credentials, tried: Mapping[Reference, Login], known: StoreState) -> None:
    """Wait until something else is configured for one of these images than what was tried.

    `known` is the state from before that was looked up. Changes for other registries do not count.
    """
    marks = _marks(tried)
    while True:
        known = await credentials.state_after(known)
        if _marks(await look_up(credentials, tried)) != marks:
            return


def _marks(logins: Mapping[Reference, Login]) -> dict[Reference, str]:
    return {
        reference: str(login) if isinstance(login, CredentialError) else login.fingerprint()
        for reference, login in logins.items()
    }
