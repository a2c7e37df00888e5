"""Secrets in settings are neither shown nor pickled."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from pgaudit import AuditLog, InvalidSettings, Settings

SECRET_DSN = "postgresql://ada:hunter2@db/claims"


TOKEN = "hunter3-of-some-length"


def test_no_secret_is_shown() -> None:
    """Neither repr() nor a dump shows a secret; the rest of the DSN is shown."""
    settings = Settings(dsn=SECRET_DSN, admin_token=TOKEN, metrics_token=TOKEN)
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json(), repr(AuditLog(settings))):
        assert "hunter" not in shown
    assert settings.model_dump()["dsn"] == "user=ada password=*** dbname=claims host=db"
    assert Settings(dsn="dbname=claims").model_dump()["dsn"] == "dbname=claims"


def test_a_pickle_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle holds all settings but secrets, which the unpickling process reads from its environment."""
    monkeypatch.setenv("PGAUDIT_DSN", SECRET_DSN)
    monkeypatch.setenv("PGAUDIT_ADMIN_TOKEN", TOKEN)
    settings = Settings(batch_size=7, trusted_proxies=["10.0.0.0/8"])
    pickled = pickle.dumps(AuditLog(settings))
    assert b"hunter" not in pickled
    assert pickle.loads(pickled).settings == settings
    assert copy.deepcopy(settings) == copy.copy(settings) == settings


def test_a_pickle_is_refused_where_its_secrets_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpickling with another DSN raises, because events would go to another database; no secret is shown."""
    monkeypatch.setenv("PGAUDIT_DSN", SECRET_DSN)
    pickled = pickle.dumps(Settings())
    for elsewhere in ("", "postgresql://ada:hunter2@elsewhere/claims"):
        monkeypatch.setenv("PGAUDIT_DSN", elsewhere)
        with pytest.raises(InvalidSettings, match=r"PGAUDIT_DSN of this process is not.*host=db") as refusal:
            pickle.loads(pickled)
        assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dsn", SECRET_DSN), ("admin_token", TOKEN), ("metrics_token", TOKEN), ("anchors", f"https://{TOKEN}@anchors")],
)
def test_a_secret_given_in_code_is_not_pickled(field: str, value: str) -> None:
    """Pickling a secret given in code raises, and the message names the variable to set; copies keep the secret."""
    settings = Settings(**{field: value})
    with pytest.raises(InvalidSettings, match=f"put it into PGAUDIT_{field.upper()}") as refusal:
        pickle.dumps(settings)
    assert "hunter" not in str(refusal.value)
    assert copy.deepcopy(settings) == copy.copy(settings) == settings.model_copy() == settings


def test_a_spawned_process_gets_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawned process gets its settings from the pickle and its secrets from the inherited environment."""
    monkeypatch.setenv("PGAUDIT_DSN", SECRET_DSN)
    audit = AuditLog(Settings(batch_size=7))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(dsn_and_batch_size, audit).result(60) == (SECRET_DSN, 7)


def dsn_and_batch_size(audit: AuditLog) -> tuple[str, int]:
    """Returns the DSN and the batch size that a spawned process has."""
    return audit.settings.dsn, audit.settings.batch_size
