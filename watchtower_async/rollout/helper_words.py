"""The words of the hidden command that a helper runs. Imports nothing: the command line needs them at each start."""

from __future__ import annotations

from collections.abc import Mapping

COMMAND = "replace-self"
NAME, CONTAINER, IMAGE, IMAGE_ID, DIGEST = "--name", "--container", "--image", "--image-id", "--digest"
OPTIONS: Mapping[str, str] = {
    NAME: "Name of the updater's container.",
    CONTAINER: "Its id.",
    IMAGE: "Its image, by name.",
    IMAGE_ID: "The engine's id of the image to move to.",
    DIGEST: "The published digest of that image.",
}
"""What the options mean. All of them are needed."""
