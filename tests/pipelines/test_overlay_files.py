from pathlib import Path

from detector.rules.overlay import FORM, ChangeWritten, Overlay, read_overlay, settable
from pipelines.overlay_files import write_overlay
from pipelines.plan_files import read_catalogue
from pipelines.yaml_files import read_yaml

NOW = settable(read_catalogue()[1]["S-01.yaml"])["when.score.at_least"]


def test_a_written_overlay_reads_back_equal(tmp_path: Path) -> None:
    changes = (
        ChangeWritten("when.score.at_least", NOW, 0.9123456789, "a: colon, and 'quotes'", rule="S-01"),
        ChangeWritten("severity", "warning", "watch", "CK alone", rule="W-05"),
        ChangeWritten("when.reading.at_least", 1000, 1500, "ours run higher", definition="ck-1000-in-48h"),
    )
    overlay = Overlay(FORM, "one warning", "because", changes, {"sensitivity": {"mild": 0.45}, "budget": 1.0})
    write_overlay(tmp_path / "site.yaml", overlay)

    assert read_overlay(read_yaml(tmp_path / "site.yaml"), "site.yaml", read_catalogue()[1]) == overlay
