"""Fixtures for every test live in tests/plugins, one subject a file; this file names them and sets up hypothesis."""

import os

from hypothesis import HealthCheck, Phase, settings

pytest_plugins = [
    "tests.plugins.required",
    "tests.plugins.kafka_broker",
    "tests.plugins.postgresql",
    "tests.plugins.shared_folder",
    "tests.plugins.spark",
    "tests.plugins.chromium",
    "tests.plugins.prometheus",
    "tests.plugins.figures",
]

WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # courses come from a seed: shrinking cannot help

settings.register_profile("dev", max_examples=int(os.environ.get("N", "15")), deadline=None, phases=WITHOUT_SHRINKING)
settings.register_profile(
    "ci",
    max_examples=25,
    phases=WITHOUT_SHRINKING,
    deadline=None,  # a busy machine is not a bug
    derandomize=True,  # the same commit gives the same verdict
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
