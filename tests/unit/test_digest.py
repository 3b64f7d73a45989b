"""Content digests."""

import hashlib

import pytest

from watchtower_async.errors import InvalidReferenceError
from watchtower_async.images.digest import Digest, digest_of, parse_digest


@pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_registered_algorithms_are_read(algorithm: str, digits: int) -> None:
    """The three algorithms of the OCI specification have digests of their own length."""
    text = f"{algorithm}:{'0a' * (digits // 2)}"
    digest = parse_digest(text)
    assert Digest(algorithm, "0a" * (digits // 2)) == digest
    assert text == str(digest)
    assert digest.short == "0a0a0a0a0a0a"


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256", "sha256:", "a" * 64, f"sha256:{'a' * 63}", f"sha256:{'a' * 65}", f"sha256:{'A' * 64}",
        f"sha256:{'g' * 64}", f"sha256:{'a' * 64}\n", f" sha256:{'a' * 64}", f"sha256:{'١' * 64}",
        f"SHA256:{'a' * 64}", f"sha512:{'a' * 64}", f"md5:{'a' * 32}", f"sha256+b64:{'a' * 64}",
        f"sha256:sha256:{'a' * 64}", "<none>",
    ],
)  # fmt: skip
def test_text_that_is_no_digest_is_refused(text: str) -> None:
    """Wrong length, upper case, other scripts and unknown algorithms are errors, not guesses."""
    with pytest.raises(InvalidReferenceError):
        parse_digest(text)


def test_unknown_algorithm_is_named_with_the_known_ones() -> None:
    """The message says what would be understood."""
    with pytest.raises(InvalidReferenceError, match="'md5' is not supported: use one of sha256, sha384, sha512"):
        parse_digest(f"md5:{'a' * 32}")


def test_message_about_a_huge_text_is_short() -> None:
    """A registry cannot fill the log."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_digest("x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_digest_is_that_of_exactly_these_bytes(algorithm: str) -> None:
    """The computed value is the hash of the bytes, under the algorithm's name."""
    body = b'{"schemaVersion": 2}\r\n'
    assert f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}" == str(digest_of(body, algorithm))


def test_digest_of_nothing_is_the_well_known_one() -> None:
    """SHA-256 of no bytes, as everybody knows it."""
    assert str(digest_of(b"")) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_unknown_algorithm_is_not_computed() -> None:
    """Python knows more algorithms than registries may use."""
    with pytest.raises(InvalidReferenceError):
        digest_of(b"", "md5")
