"""What people read about each event: the one table from identifiers to sentences.

An event has two sentences. `log` is the `msg` of a log line, where the values stand beside it as keys; it is the same
each time, except at the start, and names are written without a slash. `legacy` is for readers that see the sentence
alone, as Watchtower's notification template `default-legacy` does: so it holds the values, and where the original
Watchtower has a sentence for the same fact, it is that one, with a slash before the name.

In braces stand keys of the event. A legacy sentence for which a value is missing gives way to the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Both sentences of one event; without a legacy one the other serves for both."""

    log: str
    legacy: str = ""


SENTENCES: Mapping[str, Sentence] = {
    # The start, as Watchtower tells it.
    "updater.started": Sentence("Watchtower {version} using Docker API v{api_version}"),
    "notifications.used": Sentence("Using notifications: {services}"),
    "notifications.none": Sentence("Using no notifications"),
    "selection.everything": Sentence("Checking all containers (except explicitly disabled with label) {scope}"),
    "selection.limited": Sentence("Only checking containers {which}"),
    "schedule.first_session": Sentence("Scheduling first run: {at}"),
    "schedule.first_wait": Sentence("Note that the first check will be performed in {wait}"),
    "schedule.once": Sentence("Running a one time update."),
    "schedule.none": Sentence("Periodic runs are not enabled."),
    "api.enabled": Sentence("The HTTP API is enabled at {address}."),
    # Sessions.
    "schedule.next_session": Sentence("Next scheduled run", "Next scheduled run: {at}"),
    "session.started": Sentence("Session begins"),
    "session.finished": Sentence("Session done"),
    "session.failed": Sentence("Session could not be finished", "Session could not be finished: {reason}"),
    # Containers and images.
    "container.newer_image_found": Sentence("Found new image", "Found new {image} image ({digest_to})"),
    "container.left_alone": Sentence("Container is left alone", "Container /{container} is left alone: {reason}"),
    "container.unknown": Sentence(
        "Unable to check container", 'Unable to update container "/{container}": {reason}. Proceeding to next.'
    ),
    "container.refused": Sentence(
        "Container has a newer image but cannot be re-created as it is",
        "Container /{container} has a newer image but cannot be re-created as it is: {reason}",
    ),
    "container.up_to_date": Sentence("Container is up to date", "Container /{container} is up to date"),
    "replacement.started": Sentence("Replacing container", "Replacing /{container} ({container_id})"),
    "replacement.updated": Sentence("Started new container", "Creating /{container}"),
    "replacement.skipped": Sentence(
        "Container needed no replacement", "Container /{container} needed no replacement: {reason}"
    ),
    "replacement.rolled_back": Sentence(
        "New container failed, the old one runs again",
        "New container of /{container} failed, the old one runs again: {reason}",
    ),
    "replacement.failed": Sentence(
        "Container could not be replaced and was not changed",
        "Container /{container} could not be replaced and was not changed: {reason}",
    ),
    "replacement.unfinished": Sentence(
        "Replacement is not finished, recovery goes on with it",
        "Replacement of /{container} is not finished, recovery goes on with it: {reason}",
    ),
    "replacement.lost": Sentence(
        "CONTAINER IS DOWN: putting it back failed, look at it now",
        "CONTAINER /{container} IS DOWN: putting it back failed, look at it now: {reason}",
    ),
    "replacement.recovered": Sentence("Interrupted replacement", "Interrupted replacement of /{container}: {action}"),
    "dependent.restarted": Sentence(
        "Restarted container, as another one that it depends on was replaced",
        "Restarted /{container}, as /{because_of} was replaced",
    ),
    "dependent.recreated": Sentence(
        "Created container anew on its image, together with one that it belongs to",
        "Created /{container} anew on its image, together with /{because_of}",
    ),
    "dependent.failed": Sentence(
        "Container that depends on a replaced one could not be restarted",
        "Container /{container} depends on /{because_of} and could not be restarted: {problem}",
    ),
    "hook.ran": Sentence("Lifecycle hook has ended", "Lifecycle hook {hook} of /{container}: {reason}"),
    "rollout.state": Sentence("Rollout is in another state", "Rollout {rollout} is {state}: {reason}"),
    "rollout.limit_exceeded": Sentence(
        "More of a rollout has failed than allowed",
        "{failures} of {groups} in rollout {rollout} have failed, which is more than allowed: {action}",
    ),
    "quarantine.added": Sentence(
        "Image is not tried again here until its tag moves or it is cleared",
        "{image} ({digest}) is not tried again in /{container} until its tag moves or it is cleared",
    ),
    "quarantine.lifted": Sentence(
        "Image may be tried again", "{image} ({digest}) may be tried again in /{container}: {reason}"
    ),
    "image.removed": Sentence("Removing image", "Removing image {image_id}"),
    # Credentials and registries.
    "credentials.reloaded": Sentence("Credentials reloaded"),
    "credentials.reload_rejected": Sentence(
        "Credentials cannot be used as they are now", "Credentials cannot be used as they are now: {problem}"
    ),
    "credentials.recovered": Sentence("Credentials can be used again"),
    "credentials.repo_login": Sentence(
        "REPO_USER and REPO_PASS go to these registries", "REPO_USER and REPO_PASS go to {registries}"
    ),
    "credentials.helper_asked": Sentence("Credential helper was asked"),
    "registry.credential_rejected": Sentence(
        "Registry rejects the credential, the image can be had without one",
        "{host} rejects the credential of {source}, the image can be had without one",
    ),
    # Notifications.
    "notification.text": Sentence("Notification"),
    "notification.delivered": Sentence("Notification was delivered"),
    "notification.failed": Sentence("Failed to send notification, it is tried again"),
    "notification.lost": Sentence("Failed to send notification, it is not tried again"),
    "notification.not_made": Sentence("Notification could not be made"),
    "notification.template_failed": Sentence("Notification template failed, the built-in one was used"),
    "heartbeat.failed": Sentence("Failed to call the monitor"),
    # The program itself.
    "updater.degraded": Sentence("Something does not work as it should", "{problem}"),
    "self_update.progress": Sentence("Replacing the updater's own container", "Replacing /{container}: {progress}"),
    "updater.stopped": Sentence("Stopped", "Stopped by {signal}"),
    "settings.notice": Sentence("Setting that needs a word", "{setting} {notice}"),
    "api.update_requested": Sentence("An update was asked for by the HTTP API"),
    "api.request_failed": Sentence("A request to the HTTP API could not be answered"),
}


def log_sentence(identifier: str, values: Mapping[str, object]) -> str:
    """Return the sentence of a log line. An identifier that is not in the table is its own."""
    sentence = SENTENCES.get(identifier)
    return identifier if sentence is None else _filled(sentence.log, values)


def legacy_sentence(identifier: str, values: Mapping[str, object]) -> str:
    """Return the sentence for those who see nothing but it."""
    sentence = SENTENCES.get(identifier)
    if sentence is None or not sentence.legacy:
        return log_sentence(identifier, values)
    is_complete = all(_is_there(values, key) for key in _PLACE.findall(sentence.legacy))
    return _filled(sentence.legacy if is_complete else sentence.log, values)


def _filled(text: str, values: Mapping[str, object]) -> str:
    # Not `str.format`: a value may hold braces, and no value is looked into.
    return _PLACE.sub(lambda match: str(values[match[1]]) if _is_there(values, match[1]) else "?", text).rstrip()


def _is_there(values: Mapping[str, object], key: str) -> bool:
    return values.get(key) is not None
