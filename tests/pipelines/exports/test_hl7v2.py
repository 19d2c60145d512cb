"""Alerts as HL7 v2 for a flowsheet: read back with the hl7 library, and never taken for results by our own decoder."""

import re
from zoneinfo import ZoneInfo

import hl7
import pytest
from msgspec.structs import replace

from pipelines.exports import exporter
from pipelines.exports.hl7v2 import ROWS
from pipelines.formats import Site, decoder
from pipelines.settings import Hl7v2


@pytest.fixture(scope="module")
def write(catalogue):
    export = exporter("hl7v2", catalogue, Hl7v2())

    def message(record):
        (document,) = export(record)
        return document

    return message


def rows(parsed):
    """(code, sub-id) -> text of each OBX."""
    return {(str(one[3][0][0]), str(one[4])): parsed.unescape(str(one[5])) for one in parsed.segments("OBX")}


def test_each_step_is_a_message_of_rows(records, write):
    for record in records:
        parsed = hl7.parse(write(record).decode())
        found = rows(parsed)
        open_level = {"info": "1", "watch": "2", "warning": "3", "critical": "4"}[record.severity]

        assert "ORU^R01^ORU_R01" == str(parsed["MSH"][0][9])
        assert len(str(parsed["MSH"][0][10])) <= 20
        assert (record.patient_id, "MR") == (str(parsed["PID"][0][3][0][0]), str(parsed["PID"][0][3][0][4]))
        assert (record.unit or "", record.stay_id) == (str(parsed["PV1"][0][3]), str(parsed["PV1"][0][19]))
        assert f"{record.alert_id}-{record.sequence}" == str(parsed["OBR"][0][3][0][0])
        assert re.sub(r"[-:TZ]", "", record.at) + "+0000" == str(parsed["OBR"][0][22])
        assert {"F"} == {str(one[11]) for one in parsed.segments("OBX")}
        assert ("0" if record.state == "resolved" else open_level) == found["ITB-LEVEL", ""]
        assert (record.severity, record.state) == (found["ITB-SEVERITY", ""], found["ITB-STATE", ""])
        assert found["ITB-HEADLINE", ""].startswith(record.headline)
        assert len(record.evidence) == sum(code == "ITB-EVIDENCE" for code, _ in found)


def test_our_own_decoder_finds_no_vital_sign_in_it(records, write, catalogue):
    """What goes back into the interface engine must not come in again as readings."""
    decode = decoder("hl7v2", Site(catalogue, (), ZoneInfo("UTC"), 1 << 20, 32))
    for record in records:
        decoded = decode(write(record))

        assert () == decoded.unread
        assert {f"99ITB|{code}" for code in ROWS} >= {event.code for event in decoded.events}
        assert {None} == {catalogue.resolve_code(event.code) for event in decoded.events}
        assert {record.patient_id} == {event.patient_id for event in decoded.events}


def test_separators_and_line_endings_in_a_text_do_not_leave_it(records, write):
    odd = replace(records[0], headline="a|b^c&d~e\\f\ng\rOBX|9|NM|8310-5^x^LN||42", patient_id="p|1^2")
    raw = write(odd)
    parsed = hl7.parse(raw.decode())

    assert b"\n" not in raw, "a file has one message a line"
    assert rows(hl7.parse(write(records[0]).decode())).keys() == rows(parsed).keys()
    assert "p|1^2" == parsed.unescape(str(parsed["PID"][0][3][0][0]))
    assert rows(parsed)["ITB-HEADLINE", ""].startswith("a|b^c&d~e\\f\rg\rOBX|9")


def test_patients_are_told_under_the_identifier_that_the_site_knows_them_by(records, catalogue):
    (raw,) = exporter("hl7v2", catalogue, Hl7v2(identifier_types=["PT"], assigning_authority="H&1"))(records[0])
    parsed = hl7.parse(raw.decode())

    assert (r"H\T\1", "PT") == (str(parsed["PID"][0][3][0][3]), str(parsed["PID"][0][3][0][4]))
