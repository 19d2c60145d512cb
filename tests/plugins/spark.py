"""Spark, for what only Spark can say: the extra, Java, and its source of Kafka records (`spark_jars`)."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.plugins.required import missing
from tests.spark.connector import ConnectorMissingError, ensure_jars


@pytest.fixture(scope="session")
def spark() -> None:
    """Spark can be started here, by a command in a process of its own."""
    absent = [name for name in ("pyspark", "google.protobuf") if importlib.util.find_spec(name) is None]
    if absent:
        missing("spark", f"{absent[0]} is not installed (`make spark`)")
    if shutil.which("java") is None:
        missing("spark", "Java is not installed")


@pytest.fixture(scope="session")
def spark_jars(spark: None) -> Path:
    """The folder of the jars that `spark.jars` names."""
    try:
        return ensure_jars()
    except ConnectorMissingError as error:
        return missing("spark", str(error))
