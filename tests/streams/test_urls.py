"""The URLs of streams, which are stored and shown: no secret, and nothing that could be read as something else."""

import pytest

from pgaudit.errors import InvalidStream
from pgaudit.streams.urls import StreamURL

SECRETS = [
    "https://siem.example/?secret=hunter2",
    "https://siem.example/?secret=hunter2&secret=env:KEY",  # the last one counts, and all are stored
    "https://siem.example/?%73ecret=hunter2&secret=env:KEY",
    "https://siem.example/?secret=env:KEY#token=hunter2",
    "https://ada:hunter2@siem.example/?secret=env:KEY",
    "https://siem.example/?secret=env:KEY&link=https://ada:hunter2@siem.example/",
    "s3://bucket/audit?endpoint=https://ada:hunter2@minio.example",
    "s3://bucket/audit?endpoint=https%3A%2F%2Fada%3Ahunter2%40minio.example",
]
BREAKS = [
    "smtps://mail.example?from=a@example.com&to=b@example.com&subject=x%0D%0ABcc:c@example.com",
    "otlp+https://siem.example?header=x-key%0D%0Ax-other",
    "nats://nats.example:4222?stream=AUDIT%00",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_refused_and_not_quoted(text: str) -> None:
    """Wherever in the URL it stands."""
    with pytest.raises(InvalidStream) as raised:
        StreamURL.parse(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", BREAKS)
def test_escaped_control_characters_are_refused(text: str) -> None:
    """An option is put into a header, a subject or a command: it must not end there."""
    with pytest.raises(InvalidStream, match="cannot be printed"):
        StreamURL.parse(text)


def test_a_sign_of_mail_in_an_option_is_no_password() -> None:
    """Only a URL has a user before the @."""
    url = StreamURL.parse("s3://bucket/a?endpoint=https://minio.example/@x")
    assert url.option("endpoint") == "https://minio.example/@x"
