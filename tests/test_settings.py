"""Settings: from the environment, in code and under old names; invalid values are named."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from pgaudit import AuditLog, InvalidSettings, Mode, OnFailure, Settings
from pgaudit._log import warn_once


def test_every_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field is read from PGAUDIT_ and its name in upper case."""
    given = {
        "DSN": "dbname=x",
        "MODE": "inline",
        "ON_FAILURE": "spool",
        "SPOOL_DIR": "/spool",
        "BATCH_SIZE": "7",
        "JOB_ATTEMPTS": "5",
        "JOB_BACKOFF_DELAY": "100",
        "STALLED_AFTER": "1.5",
        "DRAIN_ON_SHUTDOWN": "true",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1,",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"PGAUDIT_{name}", value)
    settings = Settings()
    assert settings.dsn == "dbname=x"
    assert settings.mode == Mode.INLINE
    assert settings.on_failure == OnFailure.SPOOL
    assert settings.spool_dir == Path("/spool")
    assert settings.batch_size == 7
    assert settings.stalled_after == 1.5
    assert settings.job_attempts == 5
    assert settings.job_backoff_delay == 100
    assert settings.drain_on_shutdown
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


def test_the_old_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUEUE_JOB_ATTEMPTS and QUEUE_JOB_BACKOFF_DELAY configure, unless the new names are set."""
    monkeypatch.setenv("QUEUE_JOB_ATTEMPTS", "9")
    monkeypatch.setenv("QUEUE_JOB_BACKOFF_DELAY", "50")
    assert Settings().job_attempts == 9
    assert Settings().job_backoff_delay == 50
    monkeypatch.setenv("PGAUDIT_JOB_ATTEMPTS", "4")
    assert Settings().job_attempts == 4


def test_defaults_are_as_documented() -> None:
    """Three attempts from two seconds on, events of 48 KiB, errors raised, events queued."""
    settings = Settings()
    assert settings.job_attempts == 3
    assert settings.job_backoff_delay == 2_000
    assert settings.max_event_bytes == 49_152
    assert settings.mode == Mode.QUEUE
    assert settings.on_failure == OnFailure.RAISE
    assert settings.stalled_after == 30
    assert settings.trusted_proxies == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGAUDIT_BATCH_SIZE", "0"),
        ("PGAUDIT_BATCH_SIZE", "many"),
        ("PGAUDIT_MODE", "sometimes"),
        ("PGAUDIT_ON_FAILURE", "ignore"),
        ("PGAUDIT_MAX_EVENT_BYTES", "1"),
        ("PGAUDIT_STALLED_AFTER", "-1"),
        ("PGAUDIT_JOB_ATTEMPTS", "0"),
        ("PGAUDIT_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("PGAUDIT_TRUSTED_PROXIES", "::1,proxy"),
        ("QUEUE_JOB_ATTEMPTS", "three"),
        ("QUEUE_JOB_BACKOFF_DELAY", "-5"),
    ],
)
def test_an_invalid_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The message has the variable as it was set, and its value."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings, match=f"^{variable}='{value}': "):
        Settings()


def test_an_invalid_value_in_code_names_its_variable() -> None:
    """An invalid argument is named by the variable that sets the same field."""
    with pytest.raises(InvalidSettings, match="PGAUDIT_BATCH_SIZE=0"):
        Settings(batch_size=0)
    with pytest.raises(InvalidSettings, match="PGAUDIT_JOB_ATTEMPTS=0"):
        Settings(job_attempts=0)


def test_an_unknown_setting_is_refused() -> None:
    """A misspelled argument does not leave the default in force."""
    with pytest.raises(InvalidSettings, match="PGAUDIT_BATCHSIZE=3"):
        Settings(batchsize=3)


@pytest.mark.parametrize(
    "mistake", ["postgresql+asyncpg://u:secret@h/x", "u:secret@h/x", "host=h pasword=secret", "\udcff"]
)
def test_an_unreadable_dsn_is_refused_and_not_printed(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """The message names the variable and the mistake, but not the value, which may hold a password."""
    monkeypatch.setenv("PGAUDIT_DSN", "dbname=x")
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN is not a libpq string or URL \(") as refusal:
        Settings(dsn=mistake)
    assert "secret" not in str(refusal.value)
    monkeypatch.setenv("PGAUDIT_DSN", mistake.replace("\udcff", "?"))
    monkeypatch.setenv("PGAUDIT_BATCH_SIZE", "7")
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN is not a libpq string or URL") as refusal:
        Settings()
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "dsn", ["", "embedded:data", "dbname=x", "postgresql://u:p@h:1/x?sslmode=require", "postgres://"]
)
def test_a_dsn_that_libpq_reads_is_accepted(dsn: str) -> None:
    """A DSN may be a libpq string or URL, embedded:PATH, or empty for libpq's own variables."""
    assert Settings(dsn=dsn).dsn == dsn


def test_no_secret_is_printed() -> None:
    """An invalid DSN or token is named by its variable alone."""
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN: .*; PGAUDIT_ADMIN_TOKEN: ") as refusal:
        Settings(dsn=["secret"], admin_token=["secret"])
    assert "secret" not in str(refusal.value)


def test_a_short_token_is_refused_in_a_sentence() -> None:
    """Without the words of the library that validates."""
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_ADMIN_TOKEN: a token needs at least 16 characters"):
        Settings(admin_token="short")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, such as Docker Compose makes of ${X:-}, leaves the default or the old name in force."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PGAUDIT_{name.upper()}", "")
    assert Settings() == Settings.model_construct()
    monkeypatch.setenv("QUEUE_JOB_ATTEMPTS", "9")
    monkeypatch.setenv("QUEUE_JOB_BACKOFF_DELAY", "")
    assert Settings().job_attempts == 9
    assert Settings().job_backoff_delay == 2_000


@pytest.mark.parametrize("directory", ["pgaudit-spool", "./spool", "~/spool", None])
def test_a_spool_needs_an_absolute_path(monkeypatch: pytest.MonkeyPatch, directory: str | None) -> None:
    """A relative one would lead to wherever a process runs, and none is guessed."""
    if directory:
        monkeypatch.setenv("PGAUDIT_SPOOL_DIR", directory)
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_ON_FAILURE=spool needs an absolute path in PGAUDIT_SPOOL_DIR"):
        Settings(on_failure="spool")
    assert Settings(on_failure="spool", spool_dir="/var/spool/pgaudit").spool_dir == Path("/var/spool/pgaudit")


def test_settings_are_frozen() -> None:
    """Settings cannot be changed, because one AuditLog serves all threads."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().batch_size = 7  # type: ignore[misc]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns the warnings that pgaudit has logged."""
    return [record.message for record in caplog.records if record.name == "pgaudit" and record.levelname == "WARNING"]


def test_a_variable_that_is_not_a_setting_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown variable is logged once, with the most similar setting; PGAUDIT_TEST_PG is known."""
    warn_once.cache_clear()  # another test may have logged it
    monkeypatch.setenv("PGAUDIT_DNS", "dbname=x")
    monkeypatch.setenv("PGAUDIT_COLOUR", "blue")
    monkeypatch.setenv("PGAUDIT_TEST_PG", "15")
    for _ in range(2):
        AuditLog()
    assert warnings_of(caplog) == [
        "PGAUDIT_COLOUR is not a setting, so it is ignored",
        "PGAUDIT_DNS is not a setting, so it is ignored: write PGAUDIT_DSN",
    ]


def test_the_mode_off_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """PGAUDIT_MODE=off is logged as a warning, because in production it would lose every event without an error."""
    warn_once.cache_clear()  # another test may have logged it
    for _ in range(2):
        AuditLog(Settings(mode=Mode.OFF))
    (warning,) = warnings_of(caplog)
    assert "PGAUDIT_MODE=off" in warning
    assert "nothing is recorded" in warning
