"""HL7 v2 results: what is read from an OBX and what stands around it, and what is refused."""

from dataclasses import dataclass

import pytest

from detector.catalogue.signals import Named
from detector.errors import InputError
from detector.events import Observation, Pump
from pipelines.formats import Unread
from tests.pipelines.formats.hl7v2_messages import (
    DRAWN,
    DRAWN_MS,
    FILED_MS,
    PID,
    PV1,
    fields,
    hl7v2,
    message,
    msh,
    obr,
    obx,
    oru,
)

decode = hl7v2()


def only(raw: bytes) -> Observation:
    decoded = decode(raw)

    assert () == decoded.unread
    (event,) = decoded.events
    assert isinstance(event, Observation)
    return event


def refused(raw: bytes) -> str:
    decoded = decode(raw)

    assert () == decoded.events
    (part,) = decoded.unread
    return part.reason


def test_a_result_is_an_observation_with_its_patient_stay_times_unit_limit_and_id() -> None:
    assert Observation(
        patient_id="p", stay_id="V1", code="2157-6", value=5250.0, unit="U/L", effective_at=DRAWN_MS, available_at=FILED_MS,
        reference_high=235.0, observation_id="F1^LAB|2157-6|", source="LAB",
    ) == only(oru(obx(f7="0-235")))  # fmt: skip


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
def test_segments_end_with_any_line_ending(end: str) -> None:
    segments = (msh(), PID, PV1, obr(), obx())

    assert only(oru(obx())) == only(message(*segments, end=end))
    assert only(oru(obx())) == only(end.join(segments).encode())


def test_the_bytes_of_mllp_and_a_byte_order_mark_are_passed_over() -> None:
    assert only(oru(obx())) == only(b"\x0b" + oru(obx()) + b"\x1c\r")
    assert only(oru(obx())) == only(b"\xef\xbb\xbf" + oru(obx()))


def test_separators_are_those_of_the_header() -> None:
    other = oru(obx()).translate(bytes.maketrans(b"|^~\\&", b"#*!?:"))

    assert only(oru(obx())) == only(other)


@pytest.mark.parametrize("marks", ["", "^^~&", "^~a&", "^~\\\\&", "|~\\&", "^~\\&#!"])
def test_separators_that_do_not_differ_are_refused(marks: str) -> None:
    assert (Unread("bad_separators", "MSH"),) == decode(message(msh(f2=marks), PID, obr(), obx())).unread
    assert 1 == len(decode(message(msh(f2=marks), PID, obr(), obx()) + oru(obx())).events), "its neighbour is read"


def test_a_message_needs_no_more_separators_than_it_uses() -> None:
    (event,) = decode(message(msh(f2="^"), PID, obr(), obx())).events

    assert isinstance(event, Observation)
    assert 5250.0 == event.value


def test_several_messages_and_batches_are_read_one_by_one() -> None:
    second = message(msh(), PID.replace("|p^", "|q^"), obr(), obx())
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + oru(obx()) + second + b"BTS|2\rFTS|1\r"

    assert ["p", "q"] == [event.patient_id for event in decode(batch).events]
    assert () == decode(batch).unread


def test_several_patients_in_a_message_have_their_own_results() -> None:
    raw = message(msh(), PID, PV1, obr(), obx(), PID.replace("|p^", "|q^"), obr(f3="F2"), obx())

    assert [("p", "V1", "F1^LAB|2157-6|"), ("q", None, "F2|2157-6|")] == [
        (event.patient_id, event.stay_id, event.observation_id) for event in decode(raw).events
    ]


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"), [("5250", 5250.0), ("+38.5", 38.5), ("-1.", -1.0), (".5", 0.5), (" 7 ", 7.0)]
)
@pytest.mark.parametrize("kind", ["NM", "ST", "TX", "FT"])
def test_a_number_through_and_through_is_one_whatever_type_of_text_holds_it(
    kind: str, written: str, value: float
) -> None:
    event = only(oru(obx(f2=kind, f5=written)))

    assert (value, None) == (event.value, event.value_text)


@pytest.mark.parametrize("written", ["<5", "5,2", "1e3", "3.8.5", "5 mg", "٣", "0x10", "NaN", "1_0", "38^5", "38&5"])
def test_what_is_no_plain_number_stays_a_text(written: str) -> None:
    event = only(oru(obx(f5=written)))

    assert (None, written) == (event.value, event.value_text)


@pytest.mark.parametrize(
    ("written", "value", "text"),
    [
        ("^38.5", 38.5, None),
        ("=^38.5", 38.5, None),
        ("<^5", None, "<5"),
        (">=^90", None, ">=90"),
        ("^1^:^128", None, "1:128"),
        ("^2^-^4", None, "2-4"),
        ("^3^+", None, "3+"),
        ("^1^.^5", None, "1.5"),
    ],
)
def test_a_structured_numeric_is_a_number_only_where_it_is_a_lone_one(
    written: str, value: float | None, text: str | None
) -> None:
    event = only(oru(obx(f2="SN", f5=written)))

    assert (value, text) == (event.value, event.value_text)


@pytest.mark.parametrize("kind", ["CE", "CWE", "CNE"])
def test_a_code_is_no_number_whatever_it_looks_like(kind: str) -> None:
    assert (None, "160") == (only(oru(obx(f2=kind, f5="160"))).value, only(oru(obx(f2=kind, f5="160"))).value_text)
    assert "Positive" == only(oru(obx(f2=kind, f5="10828004^Positive^SCT"))).value_text


def test_each_repetition_of_a_number_is_a_result_with_an_id_of_its_own() -> None:
    events = decode(oru(obx(f5="60~120"))).events

    assert [(60.0, "F1^LAB|2157-6|"), (120.0, "F1^LAB|2157-6|#1")] == [
        (one.value, one.observation_id) for one in events
    ]


def test_repetitions_of_a_text_are_its_lines() -> None:
    assert "60\n120" == only(oru(obx(f2="TX", f5="60~120"))).value_text


def test_escapes_are_read_and_unknown_ones_stay() -> None:
    said = only(oru(obx(f2="TX", f5=r"a\F\b\S\c\T\d\R\e\E\f\X41\g\.br\h\Zx\i\H\j\N\k")))

    assert "a|b^c&d~e\\fAg\nh\\Zx\\ijk" == said.value_text


@pytest.mark.parametrize("kind", ["ED", "RP", "NA", "MA"])
def test_documents_pointers_and_waveforms_are_no_results_and_only_counted(kind: str) -> None:
    assert (Unread("unread_value", "OBX 1", refused=False),) == decode(oru(obx(f2=kind))).unread


def test_a_value_without_a_type_is_refused() -> None:
    assert "missing_key" == refused(oru(obx(f2="")))


def test_a_number_too_large_is_refused() -> None:
    assert "not_finite" == refused(oru(obx(f5="9" * 400)))


@pytest.mark.parametrize("written", ["", " "])
def test_a_result_without_a_value_is_refused(written: str) -> None:
    assert "no_value" == refused(oru(obx(f5=written)))


def test_null_is_said_and_is_no_value() -> None:
    assert (None, '""') == (only(oru(obx(f5='""', f11="C"))).value, only(oru(obx(f5='""', f11="C"))).value_text)


# -- codes and units ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("CK^Creatine kinase^L^2157-6^CK^LN", "2157-6"),
        ("2157-6^CK^LN^2160-0X^x^L", "2157-6"),
        ("A^a^L^B^b^99X^^^^2157-6^CK^LN", "2157-6"),
        ("CK^Creatine kinase^L", "L|CK"),
        ("2157-6", "|2157-6"),
    ],
)
def test_a_loinc_code_is_preferred_wherever_it_stands_and_nothing_is_guessed(written: str, code: str) -> None:
    assert code == only(oru(obx(f3=written))).code


def test_a_local_code_counts_where_the_site_names_it() -> None:
    own = hl7v2({"L|CK": Named("ck", None)})
    (event,) = own(oru(obx(f3="CK^Creatine kinase^L"))).events

    assert isinstance(event, Observation)
    assert "L|CK" == event.code


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("10*9/L^^UCUM", "10*9/L"),
        ("G/L^giga per litre^ISO+", "G/L"),
        ("XX^10*9/L^L", "10*9/L"),
        ("XX^yy^L^10*9/L^^UCUM", "10*9/L"),
        ("10^9/L", "10^9/L"),  # written raw, though ^ separates components
        (r"10\S\9/L", "10^9/L"),
        ("furlong", "furlong"),
        ("", None),
    ],
)
def test_the_unit_is_the_first_way_of_writing_it_that_the_signal_knows(written: str, unit: str | None) -> None:
    assert unit == only(oru(obx(f3="777-3^PLT^LN", f5="45", f6=written))).unit


@pytest.mark.parametrize(
    ("written", "high"),
    [
        ("0-235", 235.0),
        ("0.5 - 1.2", 1.2),
        ("<5", 5.0),
        ("<=5.5", 5.5),
        (">60", None),
        ("m: 0-235", None),
        ("9-1", None),
    ],
)
def test_the_upper_limit_is_read_only_where_it_is_plain(written: str, high: float | None) -> None:
    assert high == only(oru(obx(f7=written))).reference_high


def test_the_site_of_a_temperature_is_that_of_obx_20() -> None:
    temperature = obx(f3="8310-5^Temp^LN", f5="39.5", f6="Cel", f20="RECT^Rectal^L")

    assert "rectal" == only(oru(temperature)).site
    assert None is only(oru(temperature.replace("RECT^Rectal", "EI21^OII"))).site


# -- status and id -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "status"),
    [("F", "final"), ("", "final"), ("U", "final"), ("P", "preliminary"), ("R", "preliminary"), ("S", "preliminary"),
     ("I", "registered"), ("C", "corrected"), ("A", "amended"), ("D", "entered-in-error"), ("W", "entered-in-error"),
     ("X", "cancelled")],
)  # fmt: skip
def test_the_status_is_that_of_table_0085(written: str, status: str) -> None:
    assert status == only(oru(obx(f11=written))).status


@pytest.mark.parametrize(
    ("written", "reason"), [("N", "no_result"), ("O", "no_result"), ("?", "bad_value"), ("f", "bad_value")]
)
def test_a_question_is_no_result_and_an_unknown_status_is_refused(written: str, reason: str) -> None:
    assert reason == refused(oru(obx(f11=written)))


@pytest.mark.parametrize("status", ["I", "P", "R", "S", "U"])
def test_a_result_still_to_come_is_only_counted(status: str) -> None:
    assert (Unread("pending", "OBX 1", refused=False),) == decode(oru(obx(f5="", f11=status, f14=""))).unread


def test_a_correction_has_the_id_of_what_it_corrects_though_its_time_was_corrected_too() -> None:
    first, second = only(oru(obx())), only(oru(obx(f5="525", f11="C", f14="20260301070000+0100")))

    assert first.observation_id == second.observation_id


def test_readings_of_a_monitor_under_one_order_have_ids_of_their_own() -> None:
    pulse = {"f3": "8867-4^HR^LN", "f6": "/min"}
    events = decode(oru(obx(**pulse, f5="80"), obx(**pulse, f5="90", f14="20260301081000+0100"))).events

    assert 2 == len({one.observation_id for one in events})
    assert events[0].observation_id == only(oru(obx(**pulse, f5="82", f11="C"))).observation_id


def test_sub_ids_and_times_tell_results_of_one_code_apart() -> None:
    by_sub_id = decode(oru(obx(f4="1"), obx(f4="2", f5="6000"))).events
    by_time = decode(oru(obx(), obx(f5="6000", f14="20260301120500+0100"))).events

    assert 2 == len({one.observation_id for one in by_sub_id})
    assert 2 == len({one.observation_id for one in by_time})


def test_without_a_number_of_the_filler_the_placers_counts_else_the_results_own_else_none() -> None:
    assert "P1|2157-6|" == only(oru(obx(), order=obr(f3="", f2="P1"))).observation_id
    assert "E1^GW|2157-6|" == only(oru(obx(f21="E1^GW"), order=obr(f3=""))).observation_id
    assert None is only(oru(obx(), order=obr(f3=""))).observation_id


def test_a_withdrawal_needs_neither_value_nor_time_where_its_id_is_known() -> None:
    gone = only(oru(obx(f5="", f11="D", f14=""), order=obr(f7="")))

    assert ("entered-in-error", None, FILED_MS, "F1^LAB|2157-6|") == (
        gone.status, gone.value, gone.effective_at, gone.observation_id
    )  # fmt: skip


# -- times -------------------------------------------------------------------------------------------------------------


def test_the_time_is_that_of_the_result_else_of_the_order_else_of_its_one_specimen() -> None:
    specimen = fields("SPM", f17=f"{DRAWN}^20260301090000+0100")

    assert DRAWN_MS == only(oru(obx(f14=""))).effective_at
    assert DRAWN_MS == only(oru(obx(f14=""), specimen, order=obr(f7=""))).effective_at
    assert "no_time" == refused(oru(obx(f14=""), order=obr(f7="")))
    assert "no_time" == refused(oru(obx(f14=""), specimen, specimen, order=obr(f7="")))


@pytest.mark.parametrize("written", ["2026", "202603", "20260301", "2026030108"])
def test_a_time_without_minutes_is_refused_and_never_filled_up(written: str) -> None:
    vital = {"f3": "8867-4^Heart rate^LN", "f5": "90", "f6": "/min"}

    assert "date_only" == refused(oru(obx(f14=written), order=obr(f7="")))
    assert "date_only" == refused(oru(obx(f14=""), order=obr(f7=written)))
    assert "date_only" == refused(oru(obx(f14=written, **vital)))  # under one order a monitor sends hours of readings


@pytest.mark.parametrize("written", ["2026", "20260301", "2026030108", "20260301+0100"])
def test_a_laboratory_result_of_a_day_has_the_time_of_its_order_or_specimen_on_that_day(written: str) -> None:
    specimen = fields("SPM", f17=f"{DRAWN}^20260301090000+0100")

    assert DRAWN_MS == only(oru(obx(f14=written))).effective_at
    assert DRAWN_MS == only(oru(obx(f14=written), specimen, order=obr(f7=""))).effective_at
    assert DRAWN_MS == only(oru(obx(f14=""), specimen, order=obr(f7=written))).effective_at


def test_a_time_that_was_cut_at_the_end_of_a_record_is_not_taken_from_the_order() -> None:
    whole = oru(obx(f14="202603010930+0100"))
    cut = whole[: whole.index(b"0930+0100")]

    assert cut.endswith(b"|20260301")
    assert "date_only" == refused(cut)
    assert DRAWN_MS == only(cut + b"\r").effective_at


@pytest.mark.parametrize("written", ["2025", "20260302", "20260228", "2026030109", "20260301+0000"])
def test_the_time_of_an_order_of_another_day_or_another_clock_is_not_that_of_the_result(written: str) -> None:
    assert "date_only" == refused(oru(obx(f14=written)))


@pytest.mark.parametrize("written", ["202603010860", "20260230080500", "202603012405", "202603010805+01", "0", "2026-03-01",
                                     "202603010805+0160", "202603010805+2500", "18991231000000"])  # fmt: skip
def test_what_is_no_time_is_refused(written: str) -> None:
    assert "bad_time" == refused(oru(obx(f14=written)))


@dataclass
class Written:
    text: str
    at: int


@pytest.mark.parametrize(
    "one",
    [
        Written("202603010805+0100", DRAWN_MS),
        Written("20260301080500+0100", DRAWN_MS),
        Written("20260301080500.1234+0100", DRAWN_MS + 123),
        Written("20260301080500.5-0000", DRAWN_MS + 3_600_500),
        Written("202603010805^M", DRAWN_MS),
    ],
    ids=lambda one: one.text,
)
def test_times_have_an_offset_or_are_the_sites(one: Written) -> None:
    (event,) = hl7v2(timezone="Europe/Berlin")(oru(obx(f14=one.text))).events

    assert isinstance(event, Observation)
    assert one.at == event.effective_at


def test_the_doubled_hour_reads_as_its_first_pass_and_is_counted() -> None:
    decoded = hl7v2(timezone="Europe/Berlin")(oru(obx(f14="20261025023000")))
    (event,) = decoded.events

    assert isinstance(event, Observation)
    assert 1_792_888_200_000 == event.effective_at  # 02:30 +0200
    assert ("doubled_hour",) == decoded.remarks


def test_it_was_known_when_the_order_says_else_the_message_else_the_broker_else_when_it_was_measured() -> None:
    def known(raw: bytes, timestamp: int | None = None) -> int:
        return decode(raw, timestamp=timestamp).events[0].available_at

    later = "20260301100100+0100"

    assert FILED_MS + 3_600_000 == known(oru(obx(), order=obr(f22=later)), 7)
    assert FILED_MS == known(oru(obx(), order=obr(f22="")), 7)
    silent = message(msh(f7=""), PID, obr(f22=""), obx())
    assert 7 == known(silent, 7)
    assert DRAWN_MS == known(silent)
    assert DRAWN_MS == known(silent, -1)


def test_a_time_of_filing_that_names_no_instant_is_passed_over_and_counted() -> None:
    decoded = decode(oru(obx(), order=obr(f22="20260301")))

    assert FILED_MS == decoded.events[0].available_at
    assert ("time_passed_over",) == decoded.remarks


# -- flags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "flags"),
    [
        ((fields("SPM", f24="HEM^Hemolyzed^HL70493"),), ("hemolyzed",)),
        ((fields("SPM", f24="CLOT~HEM"),), ("hemolyzed",)),
        ((fields("SPM", f24="HEM"), fields("SPM", f24="HEM")), ()),  # whose?
        ((fields("NTE", f3="Specimen slightly haemolysed."),), ("hemolyzed",)),
        ((fields("NTE", f3="Platelets clumped. No hemolysis."),), ("clumped",)),
        ((fields("NTE", f3="Hemolysis index 0"),), ()),
        ((fields("NTE", f3="not clumped; not hemolyzed"),), ()),
    ],
)
def test_what_is_stated_of_a_specimen_becomes_a_flag_unless_it_is_denied(
    after: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    assert flags == only(oru(obx(), *after)).flags


def test_a_comment_belongs_to_the_result_before_it_and_a_flag_keeps_the_value() -> None:
    first, second = decode(oru(obx(), fields("NTE", f3="hemolyzed"), obx(f4="2"))).events

    assert isinstance(first, Observation)
    assert isinstance(second, Observation)
    assert (5250.0, ("hemolyzed",), ()) == (first.value, first.flags, second.flags)


def test_the_specimen_of_an_oul_stands_before_its_orders() -> None:
    raw = message(
        msh("OUL^R22"), PID, fields("SPM", f17=DRAWN, f24="HEM"), obr(f7=""), obx(f14=""), fields("SPM", f17=DRAWN),
        obr(f3="F2", f7=""), obx(f14=""),
    )  # fmt: skip
    first, second = decode(raw).events

    assert isinstance(first, Observation)
    assert isinstance(second, Observation)
    assert [(("hemolyzed",), DRAWN_MS), ((), DRAWN_MS)] == [
        (first.flags, first.effective_at), (second.flags, second.effective_at)
    ]  # fmt: skip


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifiers", "rules", "patient"),
    [
        ("1^^^A^SS~2^^^A^MR~3^^^A^PI", {}, "2"),
        ("3^^^A^PI", {}, "3"),
        ("4", {}, "4"),
        ("4^^^A", {}, "4"),
        ("2^^^A^MR~2^^^B^MR", {}, "2"),
        ("1^^^A^MR~2^^^B&1.2.3&ISO^MR", {"assigning_authority": "B"}, "2"),
        ("1^^^A^MR~2^^^B&1.2.3&ISO^MR", {"assigning_authority": "1.2.3"}, "2"),
        ("1^^^A^MR~2^^^A^PT", {"identifier_types": ["PT", "MR"]}, "2"),
    ],
)
def test_the_patient_is_known_by_the_identifier_that_the_site_names(
    identifiers: str, rules: dict[str, object], patient: str
) -> None:
    decoded = hl7v2(**rules)(message(msh(), fields("PID", f3=identifiers), obr(), obx()))

    assert [patient] == [event.patient_id for event in decoded.events]


@pytest.mark.parametrize(
    ("identifiers", "reason"),
    [
        ("1^^^A^SS", "missing_key"),
        ("", "missing_key"),
        ('""', "missing_key"),
        ("1~2", "missing_key"),
        ("1^^^A^MR~2^^^B^MR", "ambiguous_identity"),
        ("x" * 257 + "^^^A^MR", "bad_identity"),
    ],
)
def test_a_patient_is_never_guessed(identifiers: str, reason: str) -> None:
    assert reason == refused(message(msh(), fields("PID", f3=identifiers), obr(), obx()))


def test_results_before_any_patient_are_refused() -> None:
    assert "missing_key" == refused(message(msh(), obr(), obx()))


def test_the_stay_can_be_the_account() -> None:
    (event,) = hl7v2(stay_id="PID-18")(message(msh(), fields("PID", f3="p", f18="A7^^^X"), PV1, obr(), obx())).events

    assert isinstance(event, Observation)
    assert "A7" == event.stay_id


# -- characters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "codec"),
    [("UNICODE UTF-8", "utf-8"), ("", "utf-8"), ("8859/1", "latin-1"), ("8859/15", "iso8859-15"), ("GB 18030-2000", "gb18030"),
     ("UNICODE UTF-16", "utf-16"), ("UNICODE UTF-16", "utf-16-be")],
)  # fmt: skip
def test_characters_are_read_by_the_character_set_of_the_header(named: str, codec: str) -> None:
    raw = message(msh(f18=named), PID, obr(), obx(f2="TX", f5="Müller")).decode().encode(codec)

    assert "Müller" == only(raw).value_text


def test_a_byte_of_another_character_set_spoils_only_the_field_it_stands_in() -> None:
    in_a_name = oru(obx()).replace(b"DOE", b"M\xfcller")
    in_a_value = oru(obx(f2="TX", f5="M?ller"), obx(f4="2")).replace(b"M?ller", b"M\xfcller")

    assert 5250.0 == only(in_a_name).value
    decoded = decode(in_a_value)
    assert [Unread("encoding", "OBX 1")] == list(decoded.unread)
    assert [5250.0] == [event.value for event in decoded.events if isinstance(event, Observation)]


def test_the_site_says_what_messages_are_written_in_that_do_not() -> None:
    raw = oru(obx(f2="TX", f5="µkat")).decode().encode("latin-1")
    (event,) = hl7v2(character_set="8859/1")(raw).events

    assert isinstance(event, Observation)
    assert "µkat" == event.value_text
    assert "encoding" == refused(raw)


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_line_ending_inside_a_value_makes_no_value_of_its_beginning() -> None:
    decoded = decode(oru(obx(f5="38\r5"), obx(f4="2")))

    assert [Unread("bad_segment", "line 6"), Unread("bad_segment", "OBX 1")] == list(decoded.unread)
    assert ["F1^LAB|2157-6|2"] == [one.observation_id for one in decoded.events if isinstance(one, Observation)]


def test_a_message_that_was_cut_in_its_last_result_gives_no_value_of_it() -> None:
    whole = oru(obx(f5="38.5")).rstrip()
    value = whole.index(b"38.5")

    for end in range(value, value + len("38.5|U/L||||")):
        assert "bad_segment" == refused(whole[:end]) if end > value else refused(whole[:end])
    assert 38.5 == only(whole).value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "tombstone"),
        (b"", "not_hl7v2"),
        (b"PID|1||p\rOBX|1|NM\r", "not_hl7v2"),
        (b"<ORU_R01/>", "xml"),
        (b"  <?xml version='1.0'?>", "xml"),
        (b"\xff\xfeM", "encoding"),
        (b"MSH|^~\\&|" + b"x" * (1 << 20), "oversize"),
    ],
)
def test_a_record_that_is_no_message_is_refused_as_a_whole(raw: bytes | None, reason: str) -> None:
    with pytest.raises(InputError) as refusal:
        decode(raw)

    assert reason == refusal.value.reason


@pytest.mark.parametrize("kind", ["MDM^T02", "ORU^W01", "ORU^R40", "ADT^A31", "ACK", "VXU^V04"])
def test_other_messages_are_only_counted(kind: str) -> None:
    assert (Unread("unread_type", "MSH", refused=False),) == decode(message(msh(kind), PID, obr(), obx())).unread


def test_a_message_without_a_type_or_results_is_counted() -> None:
    assert (Unread("missing_key", "MSH"),) == decode(message(msh(""), PID, obr(), obx())).unread
    assert (Unread("empty", "MSH", refused=False),) == decode(oru()).unread


def test_a_record_in_braces_is_canonical_so_that_pumps_can_come_beside() -> None:
    (event,) = decode(b'{"type":"pump","patient_id":"p","event":"implanted","at":"2026-03-01T08:05:00+01:00"}').events

    assert Pump(patient_id="p", event="implanted", at=DRAWN_MS, available_at=DRAWN_MS) == event


def test_no_refusal_names_a_value() -> None:
    raw = message(msh(), fields("PID", f3="SECRET^^^A^SS"), obr(), obx(f5="SECRET"), obx(f11="SECRET"), "SECRET")

    for part in decode(raw).unread:
        assert "SECRET" not in part.where
    assert DRAWN not in str(decode(raw).unread)
