"""The older notification settings, as the URLs that they stand for."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest

from watchtower_async.notify.legacy import LegacySettings, delay_for, legacy_urls
from watchtower_async.notify.services import read_services

MARKER = "Sw0rdfish"
MAIL = LegacySettings(email_from="a@x.org", email_to="b@x.org,c@y.org", email_server="m.example.com", email_port=587)
SLACK_HOOK = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
TO = "toaddresses=b%40x.org%2Cc%40y.org"


def only_url(kind: str, settings: LegacySettings) -> str:
    """Return the URL of one type."""
    (url,) = legacy_urls([kind], settings).urls
    return url


def test_mail_without_user_logs_in_nowhere() -> None:
    """The keys are sorted, and what is the default is left out."""
    expected = f"smtp://m.example.com:587/?auth=None&fromaddress=a%40x.org&fromname=Watchtower&subject=&{TO}"
    assert expected == only_url("email", MAIL)


def test_mail_with_user_logs_in() -> None:
    """What is special in a password is written as %XX."""
    settings = LegacySettings(
        email_from="a@x.org",
        email_to="b@x.org",
        email_server="m.example.com",
        email_user="me@x.org",
        email_password="p@:/",
    )
    assert only_url("email", settings).startswith("smtp://me%40x.org:p%40%3A%2F@m.example.com:25/?auth=Plain&")


def test_mail_with_tls_skip_verify_is_sent_in_the_clear_and_says_so() -> None:
    """As Watchtower does, whatever its documentation says."""
    found = legacy_urls(
        ["email"],
        LegacySettings(email_from="a@x.org", email_to="b@x.org", email_server="m", email_tls_skip_verify=True),
    )
    assert "encryption=None" in found.urls[0]
    assert "usestarttls=No" in found.urls[0]
    assert len(found.warnings) == 1


def test_slack_hook_becomes_a_webhook_with_its_looks() -> None:
    """An icon URL wins over an emoji."""
    settings = LegacySettings(slack_hook_url=SLACK_HOOK, slack_icon_emoji=":ship:", slack_icon_url="https://x.y/i.png")
    expected = (
        "slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook"
        "?botname=watchtower&color=%23406170&icon=https%3A%2F%2Fx.y%2Fi.png"
    )
    assert expected == only_url("slack", settings)


def test_slack_hook_of_discord_becomes_discord() -> None:
    """People use Discord's address for Slack messages."""
    settings = LegacySettings(slack_hook_url="https://discord.com/api/webhooks/123/tok/slack", slack_identifier="wt")
    expected = "discord://tok@123?color=0x406170&colordebug=0x0&colorerror=0x0&colorinfo=0x0&colorwarn=0x0&username=wt"
    assert expected == only_url("slack", settings)


def test_old_and_new_urls_of_teams_are_told_apart() -> None:
    """The old ones are connectors, which are off; the new ones are workflows."""
    old = "https://org.webhook.office.com/webhookb2/group@tenant/IncomingWebhook/alt/owner"
    assert (
        only_url("msteams", LegacySettings(msteams_hook_url=old))
        == "teams://group@tenant/alt/owner?color=%23406170&host=org.webhook.office.com"
    )
    new = "https://prod-1.westus.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?sig=s"
    assert f"teams://?color=%23406170&host={quote(new, safe='')}" == only_url(
        "msteams", LegacySettings(msteams_hook_url=new)
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://g.example.com", "gotify://g.example.com/tok?title="),
        ("https://g.example.com:8443/sub/", "gotify://g.example.com:8443/sub/tok?title="),
        ("http://g.example.com", "gotify://g.example.com/tok?disabletls=Yes&title="),
    ],
)
def test_gotify_path_and_token_are_put_together(address: str, expected: str) -> None:
    """An http address means no TLS."""
    assert expected == only_url("gotify", LegacySettings(gotify_url=address, gotify_token="tok"))


def test_types_keep_their_order_and_shoutrrr_adds_nothing() -> None:
    """URLs that are given as such come from elsewhere."""
    settings = LegacySettings(slack_hook_url=SLACK_HOOK, gotify_url="https://g", gotify_token="t")
    found = legacy_urls(["shoutrrr", "gotify", "slack", "gotify"], settings)
    assert [url.partition(":")[0] for url in found.urls] == ["gotify", "slack"]


@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        ("email", LegacySettings(), "WATCHTOWER_NOTIFICATION_EMAIL_FROM"),
        ("slack", LegacySettings(), "WATCHTOWER_NOTIFICATION_SLACK_HOOK_URL"),
        ("slack", LegacySettings(slack_hook_url=f"https://hooks.slack.com/{MARKER}"), "SLACK_HOOK_URL"),
        ("msteams", LegacySettings(), "WATCHTOWER_NOTIFICATION_MSTEAMS_HOOK_URL"),
        ("msteams", LegacySettings(msteams_hook_url=f"http://{MARKER}"), "MSTEAMS_HOOK_URL"),
        ("gotify", LegacySettings(gotify_url="g.example.com", gotify_token=MARKER), "GOTIFY_URL"),
        ("gotify", LegacySettings(gotify_url="https://g"), "WATCHTOWER_NOTIFICATION_GOTIFY_TOKEN"),
        ("pigeon", LegacySettings(), "pigeon"),
    ],
)
def test_missing_or_wrong_setting_is_named(kind: str, settings: LegacySettings, name: str) -> None:
    """Both its flag and its variable, and never its value."""
    with pytest.raises(ValueError, match=r".+") as caught:
        legacy_urls([kind], settings)
    assert name in str(caught.value)
    assert MARKER not in str(caught.value)


def test_every_legacy_url_is_a_service() -> None:
    """There is one way from a URL to a service."""
    settings = LegacySettings(
        email_from="a@x.org", email_to="b@x.org", email_server="m.example.com", slack_hook_url=SLACK_HOOK,
        msteams_hook_url="https://o.webhook.office.com/webhookb2/g@t/IncomingWebhook/a/o",
        gotify_url="http://g.example.com", gotify_token="tok",
    )  # fmt: skip
    services = read_services(legacy_urls(["email", "slack", "msteams", "gotify"], settings).urls)
    assert [service.scheme for service in services] == ["smtp", "slack", "teams", "gotify"]


def test_secrets_are_in_no_repr() -> None:
    """Settings and URLs are printed by mistake sooner or later."""
    settings = LegacySettings(gotify_url="https://g", gotify_token=MARKER, email_password=MARKER, slack_hook_url=MARKER)
    assert MARKER not in f"{settings!r} {legacy_urls(['gotify'], settings)!r}"


def test_delay_for_mail_wins_over_the_general_one() -> None:
    """It is meant for all messages, as in Watchtower."""
    assert timedelta(seconds=5) == delay_for(general=timedelta(seconds=9), email=timedelta(seconds=5))
    assert timedelta(seconds=9) == delay_for(general=timedelta(seconds=9), email=timedelta(0))
