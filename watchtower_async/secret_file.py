"""Secrets that are given as they are, or as the name of the file that holds them (as Docker and Kubernetes give them).

A text is the name of a file by Watchtower's rule: it has no colon, or its first colon follows a drive letter, and there
is such a file. One that is there and cannot be read is an error, because the text itself is surely not the secret.
"""

from __future__ import annotations

import errno
from pathlib import Path

_LARGEST = 64 * 1024
# Then there is no such file, and the text is the secret: a long one cannot even be a name.
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def read_secret(text: str) -> str:
    """Return the secret that a text is or names; that of a file is without the white space around it.

    Raises ValueError, with a reason that can be shown, for a file that cannot be read.
    """
    if text.find(":") not in (-1, 1) or "\0" in text:
        return text
    path = Path(text)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        # A word such as `bin` may be the name of a directory where we run, and is meant as it is.
        if error.errno in _NO_SUCH_FILE or (error.errno == errno.EISDIR and not path.is_absolute()):
            return text
        raise ValueError(f"it names a file that cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise ValueError(f"it names a file of more than {_LARGEST // 1024} KiB")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError("it names a file that is not UTF-8 text") from None
