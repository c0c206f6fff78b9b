"""MLflow's client, bounded in time; a local database is made whole or not at all."""

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Bounds for a tracking server that does not answer (the defaults block for minutes); and nobody
#: else is told what is logged.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
SQLITE = "sqlite:///"


def open_client(uri: str) -> Any:
    """A client of the server or database at an address."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient
    if uri.startswith(SQLITE):
        _create_whole(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(uri)


def _create_whole(file: Path) -> None:
    """Create a database aside and move it into place: one killed while it is made stays broken."""
    from mlflow import MlflowClient

    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    MlflowClient(f"{SQLITE}{aside}").search_experiments(max_results=1)
    with suppress(FileExistsError):  # another driver was faster
        os.link(aside, file)
    aside.unlink()
