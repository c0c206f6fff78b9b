import pytest

from trainables.errors import describe
from trainables.secrets import hide_secrets


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://me:pw@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://token@host/db and s3://k:v@b", "postgresql://***@host/db and s3://***@b"),
        ("http://user:p@ss@host", "http://***@host"),
        ("to postgresql://me:a/b?c@host/db now", "to postgresql://***@host/db now"),
        (
            "postgresql:///db?user=me&password=a/b&ssl=1",
            "postgresql:///db?user=me&password=***&ssl=1",
        ),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("mail me@host, see http://host/a@b", "mail me@host, see http://host/a@b"),
        ("key AKIAEXAMPLEEXAMPLE used", "key *** used"),
        ("the word short stays", "the word short stays"),
    ],
)
def test_s18_secrets_are_hidden_and_harmless_words_stay(monkeypatch, text, hidden):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE")
    monkeypatch.setenv("A_TOKEN", "short")
    assert hide_secrets(text) == hidden


def test_s18_the_reason_of_a_failed_stage_holds_no_secret(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "0123456789abcdef")
    with pytest.raises(RuntimeError) as caught:
        deny("0123456789abcdef")
    reason = describe(caught.value)
    assert reason.startswith("RuntimeError: denied for *** (test_secrets.py:")


def deny(key: str) -> None:
    raise RuntimeError(f"denied for {key}")
