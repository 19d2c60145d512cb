import pytest

from detector.plan import Plan
from pipelines.plan_files import plan_from_files


@pytest.fixture(scope="session")
def plan() -> Plan:
    """The plan of the shipped catalogue, with the public key of demo and replay."""
    return plan_from_files()
