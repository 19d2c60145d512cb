"""A session of Spark, as config.yaml wants it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import ConfigError
from pipelines.settings import Spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEEDS = ("pyspark", "google.protobuf")
TASKS_PER_CORE = 4  # even load: a patient of a month takes a hundred times as long as one of a day

OURS = {
    "spark.ui.enabled": "false",  # it listens on every address, and nobody has said who may look
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    # Few bytes are much work here: the number of tasks follows the cores, never the bytes.
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
"""What config.yaml's ``spark.options`` may say otherwise."""

ON_THIS_MACHINE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


def require() -> None:
    """See that the extra is installed, before anything else is done.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in NEEDS if not _is_there(name)]
    if missing:
        problem = (
            f"--engine spark: {missing[0]} is not installed; expected the extra [spark];"
            " run `pip install 'itbwatch[spark]'`, or take --engine local"
        )
        raise ConfigError([problem])


@contextmanager
def session(spark: Spark, *, cores: str, more: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """A session that ends with the block. ``cores`` are those of this machine, where no master is named.

    Raises:
        ConfigError: Spark cannot be started.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of every connection
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    master = spark.master or f"local[{cores}]"
    log = Path(__file__).with_name("log4j2.properties").as_uri()
    quiet = {"spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log}"}
    options = {
        **OURS,
        **quiet,
        **(ON_THIS_MACHINE if master.startswith("local") else {}),
        **(more or {}),
        **spark.options,
    }
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master(master).appName("itbwatch")
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        made = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        problem = (
            f"--engine spark: Spark did not start ({type(error).__name__}); expected Java 17 or newer and a master that"
            f" answers at {master!r}; look at JAVA_HOME, and at spark.master and spark.options of config.yaml"
        )
        raise ConfigError([problem]) from error
    try:
        if "spark.sql.shuffle.partitions" not in options:
            tasks = TASKS_PER_CORE * made.sparkContext.defaultParallelism
            made.conf.set("spark.sql.shuffle.partitions", str(tasks))
        yield made
    finally:
        made.stop()


def jars(folder: Path) -> dict[str, str]:
    """The option that brings the jars of a folder to driver and executors."""
    return {"spark.jars": ",".join(str(one.resolve()) for one in sorted(folder.glob("*.jar")))}


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
