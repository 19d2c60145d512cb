"""Alerts as FHIR: valid against fhir.resources R4B, evidence and all, and nothing of the record is lost on the way."""

import json

import pytest
from fhir.resources.R4B.communication import Communication
from fhir.resources.R4B.detectedissue import DetectedIssue
from msgspec.structs import replace

from pipelines.exports import NOTICES, exporter
from pipelines.exports.fhir import SEVERITIES
from pipelines.settings import Hl7v2

VALID = {"DetectedIssue": DetectedIssue, "Communication": Communication}


@pytest.fixture(scope="module")
def written(records, catalogue):
    """Each record with the resources of it."""
    export = exporter("fhir", catalogue, Hl7v2())
    return [(record, [json.loads(line) for line in export(record)]) for record in records]


def test_every_resource_is_valid(written):
    for _, resources in written:
        for resource in resources:
            VALID[resource["resourceType"]].model_validate(resource)


def test_each_step_is_the_same_issue_in_its_next_version(written):
    for record, (issue, *_) in written:
        assert ("DetectedIssue", record.alert_id) == (issue["resourceType"], issue["id"])
        assert str(record.sequence) == issue["meta"]["versionId"]
        assert record.at == issue["identifiedDateTime"]
        assert SEVERITIES[record.severity] == issue["severity"]
        assert ("final" if record.state == "resolved" else "preliminary") == issue["status"]
        assert record.patient_id == issue["patient"]["identifier"]["value"]
        assert record.headline in issue["detail"]


def test_whoever_asks_for_attention_gets_a_notice_and_nobody_else(written):
    for record, (_, *notices) in written:
        assert (record.state in NOTICES) == bool(notices)
        for notice in notices:
            assert [{"reference": f"DetectedIssue/{record.alert_id}"}] == notice["about"]
            assert record.headline == notice["payload"][0]["contentString"]
            assert record.stay_id == notice["encounter"]["identifier"]["value"]


def test_each_rule_refers_to_the_readings_it_rests_on(written):
    readings = 0
    for record, (issue, *_) in written:
        contained = {f"#{one['id']}": one for one in issue.get("contained", ())}
        said = {
            (group["code"][0]["coding"][0]["code"], contained[detail["reference"]]["effectiveDateTime"],
             contained[detail["reference"]].get("valueQuantity", {}).get("value"))
            for group in issue.get("evidence", ()) for detail in group["detail"]
        }  # fmt: skip

        assert {(line.rule, line.effective_at, line.value) for line in record.evidence} == said
        readings += len(contained)

    assert readings > len(written)


def test_readings_carry_the_loinc_code_of_their_signal_and_ucum_units(written, catalogue):
    codes = set()
    for _, (issue, *_) in written:
        for reading in issue.get("contained", ()):
            for coding in reading["code"].get("coding", ()):
                assert reading["code"]["text"] == catalogue.resolve_code(coding["code"]).signal
                codes.add(coding["code"])
            if "valueQuantity" in reading:
                signal = catalogue.signals.get(reading["code"]["text"])
                assert signal is None or signal.unit == reading["valueQuantity"]["code"]

    assert {"8310-5", "2157-6", "777-3"} <= codes


def test_an_id_that_is_none_of_fhir_is_told_only_as_an_identifier(records, catalogue):
    odd = replace(records[0], patient_id="4711/ä b")
    issue = json.loads(next(iter(exporter("fhir", catalogue, Hl7v2())(odd))))

    assert {"type": "Patient", "identifier": {"value": "4711/ä b"}} == issue["patient"]
    DetectedIssue.model_validate(issue)


def test_an_alert_whose_evidence_was_corrected_says_so(records, catalogue):
    gone = replace(records[0], state="resolved", reason="evidence_corrected", evidence=())
    issue = json.loads(next(iter(exporter("fhir", catalogue, Hl7v2())(gone))))

    assert "corrected" == issue["status"]
    assert not {"evidence", "contained"} & issue.keys()
    DetectedIssue.model_validate(issue)
