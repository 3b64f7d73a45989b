"""Nothing secret passes the log."""

import pytest

from watchtower_async.settings import build_settings, declared_options, parse_user_name
from watchtower_async.telemetry.redaction import Redactor, redact_text, secret_values

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


@pytest.mark.parametrize(
    "key", ["password", "Authorization", "token", "identitytoken", "X-Registry-Auth", "http_api_token", "hook-url"]
)
def test_secret_under_a_known_key_is_masked(key: str) -> None:
    """Keys that hold secrets are masked at any depth, however they are written."""
    event = Redactor()(None, "info", {"event": "x", "data": {"inner": {key: SECRET}}, key: SECRET})
    assert SECRET not in repr(event)


@pytest.mark.parametrize("key", ["container", "reason", "exit_code", "registries", "tokens_used", "scope"])
def test_harmless_key_is_not_masked(key: str) -> None:
    """A log without values helps nobody."""
    assert {key: "web"} == Redactor()(None, "info", {key: "web"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"slack://T000/B000/{SECRET}", "slack://***"),
        (f"discord://{SECRET}@1234", "discord://***"),
        (f"tgram://123:{SECRET}/42", "tgram://***"),
        (f"smtp://me:{SECRET}@mail.example.org:25/?to=you", "smtp://mail.example.org:25/***"),
        (f"https://hooks.slack.com/services/T0/B0/{SECRET}", "https://hooks.slack.com/***"),
        (f"https://discord.com/api/webhooks/1/{SECRET}", "https://discord.com/api/webhooks/***"),
        (f"https://hc-ping.com/{SECRET}/fail", "https://hc-ping.com/***"),
    ],
)
def test_of_a_notification_url_no_more_than_the_host_is_shown(text: str, shown: str) -> None:
    """Tokens stand in the path, and often where a host would."""
    assert f"sent to {shown} and no answer" == redact_text(f"sent to {text} and no answer")


@pytest.mark.parametrize(
    "text",
    [
        f"WATCHTOWER_HTTP_API_TOKEN={SECRET} is set",
        f"password = '{SECRET}'",
        f'{{"access_token": "{SECRET}", "expires_in": 300}}',
    ],
)
def test_secret_that_a_text_assigns_is_masked(text: str) -> None:
    """Programs repeat what they were given."""
    assert SECRET not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "could not get a token: 401 Unauthorized",
        "unix:///var/run/docker.sock",
        "the process ended with code=3",
        "https://registry.example/v2/app/manifests/1",
        "ssh://engine.example",
    ],
)
def test_sentence_without_a_secret_stays_as_it_is(text: str) -> None:
    """What is masked for nothing is missed when something goes wrong."""
    assert text == redact_text(text)


def test_secrets_of_the_settings_are_masked_wherever_they_stand() -> None:
    """Every option that is a secret, also in the middle of another program's words."""
    secrets = [option for option in declared_options() if option.is_secret and option.parse is not parse_user_name]
    assert len(secrets) >= 8
    for option in secrets:
        given = f"{'https://example.org/' if option.metavar == 'URL' else ''}{SECRET}-{option.key}"
        settings = build_settings(command_line={}, environ={option.env: given}, secret_of=lambda text: text)
        text = Redactor(secret_values(settings)).text(f"they said:{given}!")
        assert text == "they said:***!", option.name


def test_piece_of_a_secret_url_is_masked_too() -> None:
    """A service may answer with the token alone; words and hosts can still be read."""
    url = "discord://aB3dEfGhIjKl@123456789012?splitlines=yes"
    settings = build_settings(
        command_line={}, environ={"WATCHTOWER_NOTIFICATION_URL": url}, secret_of=lambda text: text
    )
    redactor = Redactor(secret_values(settings))
    assert (
        redactor.text("discord says: aB3dEfGhIjKl is no token of 123456789012")
        == "discord says: *** is no token of ***"
    )
    assert redactor.text("splitlines=yes") == "splitlines=yes"


def test_user_name_is_no_secret() -> None:
    """It is an everyday word, and masking it would take that word out of every line."""
    settings = build_settings(
        command_line={}, environ={"REPO_USER": "docker", "REPO_PASS": SECRET}, secret_of=lambda text: text
    )
    assert Redactor(secret_values(settings)).text(f"docker {SECRET}") == "docker ***"


class Careless:
    """An object that tells a secret when it is written."""

    def __str__(self) -> str:
        return f"https://user:{SECRET}@host/"


@pytest.mark.parametrize(
    "value", [Careless(), {Careless()}, [Careless()], {"x": Careless()}, ValueError(Careless()), {str(Careless()): 1}]
)
def test_object_is_redacted_as_the_text_it_is_written_as(value: object) -> None:
    """A renderer must not find anything that was not looked at."""
    assert SECRET not in repr(Redactor().value(value))


def test_redactor_does_not_tell_what_it_knows() -> None:
    """It is a secret's worst place to be shown."""
    assert SECRET not in repr(Redactor([SECRET]))


@pytest.mark.parametrize("value", [None, True, 3, 2.5])
def test_numbers_and_truth_values_stay_what_they_are(value: object) -> None:
    """Programs read them."""
    assert value is Redactor().value(value)
