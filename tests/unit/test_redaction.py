"""Nothing secret passes the log."""

import pytest

from watchtower_async.telemetry.redaction import redact_event, redact_text

SECRET = "s3cr3t-marker"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@host/v2/",
        f"GET https://host/token?service=x&token={SECRET}",
        f"https://storage/blob?X-Amz-Signature={SECRET}&n=1",
        f"Authorization: Basic {SECRET}aGVsbG8=",
        f"sent Bearer {SECRET}.abc.def to it",
        f"with eyJwYXNzd29yZCI6{SECRET}AAAAAAAA in it",
    ],
)
def test_secret_in_text_is_masked(text: str) -> None:
    """User info, query values and authorisation values are masked inside sentences."""
    assert SECRET not in redact_text(text)


def test_harmless_query_parameters_stay() -> None:
    """What helps to understand a token request is shown."""
    text = "https://auth/token?service=registry&scope=repository:a/b:pull"
    assert redact_text(text) == text


@pytest.mark.parametrize("key", ["password", "Authorization", "token", "identitytoken", "X-Registry-Auth"])
def test_secret_under_a_known_key_is_masked(key: str) -> None:
    """Keys that hold secrets are masked at any depth."""
    event = redact_event(None, "info", {"event": "x", "data": {"inner": {key: SECRET}}, key: SECRET})
    assert SECRET not in repr(event)
