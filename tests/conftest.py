"""Fixtures for every test live in tests/plugins, one subject a file; this file names them and sets up hypothesis."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.plugins.required", "tests.plugins.kafka_broker", "tests.plugins.shared_folder"]

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,  # a busy machine is not a bug
    derandomize=True,  # the same commit gives the same verdict
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
