"""The setting PGAUDIT_ANCHORS: what it accepts, and what it refuses without showing a secret."""

import pytest

from pgaudit import InvalidSettings, Settings
from pgaudit._anchor_urls import AnchorURL
from pgaudit.sealing.anchors import anchors_of
from pgaudit.sealing.notes import ED25519
from pgaudit.sealing.signing import SigningKey

KEY = SigningKey("log.example.com", ED25519, bytes(range(32))).verifier


@pytest.mark.parametrize(
    ("url", "kind", "name", "location"),
    [
        ("file:/var/anchors", "file", "file:/var/anchors", "/var/anchors"),
        ("file:///var/anchors", "file", "file:///var/anchors", "/var/anchors"),
        (
            "https://hunter2@anchors.example.com:8443/claims?sig=a%2Bb",
            "http",
            "https://anchors.example.com:8443/claims",
            "https://anchors.example.com:8443/claims?sig=a%2Bb",
        ),
        ("s3://audit/claims/?retain=2557d", "s3", "s3://audit/claims", "audit/claims"),
        (
            "rfc3161+http://tsa.example.com/tsr?roots=/etc/tsa.pem",
            "rfc3161",
            "rfc3161+http://tsa.example.com/tsr",
            "http://tsa.example.com/tsr",
        ),
        (
            f"witness+https://w.example.com/?vkey={KEY}",
            "witness",
            "witness+https://w.example.com/",
            "https://w.example.com/",
        ),
    ],
)
def test_each_kind_has_a_name_without_secrets(url: str, kind: str, name: str, location: str) -> None:
    """The name has neither token nor query; the location is where the checkpoint goes."""
    anchor = AnchorURL.parse(url)
    assert (anchor.kind, anchor.name, anchor.location) == (kind, name, location)
    assert Settings(anchors=url).anchors is not None


def test_options_and_tokens_are_decoded_and_a_plus_sign_stays() -> None:
    """A public key has plus signs, and is accepted with and without encoding."""
    plain = AnchorURL.parse(f"witness+https://t%20@w.example.com?vkey={KEY}".replace("%20", "%21"))
    encoded = AnchorURL.parse(f"witness+https://w.example.com?vkey={str(KEY).replace('+', '%2B').replace('/', '%2F')}")
    assert plain.options["vkey"] == encoded.options["vkey"] == str(KEY)
    assert plain.token == "t!"
    assert AnchorURL.parse("s3://b?retain=30d").retain_days == 30


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "ftp://hunter2@x.example.com/a",
            r"'ftp://\*\*\*@x.example.com/a' is not an anchor: write file:/DIRECTORY, http",
        ),
        ("https//hunter2@x/a?hunter2", r"'\*\*\*@x/a' is not an anchor"),
        ("https://user:hunter2@x", r"without a colon"),
        ("https://hunter2%0A@x", r"bearer token"),
        ("https:///path", r"write HOST"),
        ("https://x:port/", r"'https://x:port/' is not an anchor: write HOST"),
        ("https://x/#top", r"no #fragment"),
        ("https://müller/", r"as %XX"),
        ("file:anchors", r"absolute path"),
        ("file://host/anchors", r"absolute path"),
        ("s3://audit", r"retain=… is missing"),
        ("s3://audit?retain=7y", r"retain has the days"),
        ("s3://audit?retain=0d", r"retain has the days"),
        ("s3://hunter2@audit?retain=7d", r"AWS's variables"),
        ("s3://audit?retain=7d&endpoint=ftp://x", r"endpoint is a URL"),
        ("s3://audit?retain=7d&endpoint=https://hunter2@x", r"without credentials"),
        ("rfc3161+https://tsa", r"roots=… is missing"),
        ("rfc3161+https://tsa?roots=tsa.pem", r"absolute path"),
        ("witness+https://w", r"vkey=… is missing"),
        ("witness+https://w?vkey=k&color=red", r"'color' is not known"),
        ("file:/a,file:/a", r"'file:/a' is named twice"),
    ],
)
def test_what_is_no_anchor_is_refused(url: str, message: str) -> None:
    """The message names the variable, the entry and the remedy, and no secret."""
    with pytest.raises(InvalidSettings, match=message) as refusal:
        Settings(anchors=f"file:/var/anchors, {url}")
    assert str(refusal.value).startswith("PGAUDIT_ANCHORS: ")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("vkey", ["nonsense", str(KEY)])
def test_the_key_of_a_witness_is_one(vkey: str) -> None:
    """The key of a log, or none at all, is refused when the anchors are opened."""
    settings = Settings(anchors=f"witness+https://hunter2@w.example.com?vkey={vkey}")
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_ANCHORS: witness\+https://w.example.com: ") as refusal:
        anchors_of(settings)
    assert "hunter2" not in str(refusal.value)


def test_no_anchor_is_no_error() -> None:
    """Without the setting there are no anchors."""
    assert anchors_of(Settings()) == []
