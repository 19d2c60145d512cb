"""config.yaml as one frozen value. What every key means stands in config.yaml itself, beside its default.

``pipelines.settings_file`` reads it, and answers a wrong file with every mistake at once.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from detector.errors import ConfigError, nearest
from detector.plan import PUBLIC_KEY

LAST_PORT = 65_535
SMALLEST_KEY = 16  # bytes: 128 bits, the size of an alert id


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        hint = nearest(name, available_timezones())
        raise ValueError(f"expected an IANA time zone such as Europe/Berlin or UTC{hint}") from error
    return name


def _port_in_range(server: str) -> str:
    if int(server.rpartition(":")[2]) > LAST_PORT:
        raise ValueError(f"expected host:port with a port from 1 to {LAST_PORT}")
    return server


def _like(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


_TOPIC = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")
Topic = Annotated[str, _like(_TOPIC.pattern, "a topic name (letters, digits, '.', '_', '-'; 249 at most)")]
Server = Annotated[
    str,
    _like(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):0*[1-9][0-9]*", "host:port"),
    AfterValidator(_port_in_range),
]
Name = Annotated[str, Field(min_length=1)]
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What breaks a line, and what UTF-8 cannot say."""

CANARY_MS = 10_000
LONGEST_NAME, LONGEST_PATH = 255, 4_095  # bytes: what Linux takes


def _writable_name(name: str) -> str:
    if UNWRITABLE.search(name):
        raise ValueError("expected a file name without control characters")
    if len(name.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in name.split("/")):
        raise ValueError(f"expected a path of at most {LONGEST_PATH} bytes, each name in it of at most {LONGEST_NAME}")
    return name


FileName = Annotated[str, Field(min_length=1), AfterValidator(_writable_name)]


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError("expected an address or a network without host bits, as in 10.1.2.3 or 10.1.2.0/24") from error
    return text


Network = Annotated[str, AfterValidator(_network)]
HeaderName = Annotated[str, _like(r"[A-Za-z0-9-]+", "the name of an HTTP header")]
HostName = Annotated[
    str, _like(r"\*|(\*\.)?[A-Za-z0-9._-]+", "a host name or IPv4 address without port, *.domain, or *")
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Security(_Section):
    protocol: Literal["plaintext", "ssl", "sasl_ssl"] = "plaintext"
    insecure: bool = False
    ca_file: FileName | None = None
    certificate_file: FileName | None = None
    key_file: FileName | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password_file: FileName | None = None


class Topics(_Section):
    model_config = ConfigDict(validate_default=True)

    encounters: Topic = "icu.encounters"
    pumps: Topic = "icu.pumps"
    context: Topic = "icu.context"
    observations: Topic = "icu.observations"
    acknowledgements: Topic = "itb.acknowledgements"
    merges: Topic = "itb.merges"
    alerts: Topic = "itb.alerts"
    deadletters: Topic = "itb.deadletters"

    @field_validator("*")
    @classmethod
    def _distinct(cls, name: str, info: ValidationInfo) -> str:
        same = [role for role, other in info.data.items() if other == name]  # of those before it that are right
        if same:
            raise ValueError(
                f"is the topic of {' and '.join([*same, info.field_name or ''])}; expected eight different names"
            )
        return name


Format = Literal["canonical", "fhir", "hl7v2"]
"""A module of ``pipelines.formats``."""


class Formats(_Section):
    encounters: Format = "canonical"
    pumps: Format = "canonical"
    context: Format = "canonical"
    observations: Format = "canonical"


class SiteCode(_Section):
    signal: str = Field(min_length=1)
    unit: str | None = None


class CodeMaps(_Section):
    encounters: dict[Name, SiteCode] = {}
    pumps: dict[Name, SiteCode] = {}
    context: dict[Name, SiteCode] = {}
    observations: dict[Name, SiteCode] = {}

    def of(self, topic: str) -> dict[Name, SiteCode]:
        """The codes of one topic, by its role."""
        found: dict[Name, SiteCode] = getattr(self, topic, {})
        return found


class Kafka(_Section):
    bootstrap_servers: list[Server] = Field(default=["127.0.0.1:9092"], min_length=1)
    security: Security = Field(default=Security(), validate_default=True)
    topics: Topics = Topics()
    formats: Formats = Formats()
    code_maps: CodeMaps = CodeMaps()
    group_id: str = Field(default="itbwatch", min_length=1)
    group_instance_id: str | None = Field(default=None, min_length=1)
    client_id: str = Field(default="itbwatch", min_length=1)
    session_timeout_ms: int = Field(default=45_000, ge=1_000, le=1_800_000)
    heartbeat_interval_ms: int = Field(default=3_000, ge=100, validate_default=True)
    max_poll_interval_ms: int = Field(default=300_000, ge=1_000)
    request_timeout_ms: int = Field(default=30_000, ge=1_000, le=300_000)
    delivery_timeout_ms: int = Field(default=30_000, ge=1_000, le=600_000)
    stall_ms: int = Field(default=10_000, ge=2_000, le=300_000)
    canary_ms: int | None = Field(default=None, ge=0, le=300_000)

    @field_validator("security")
    @classmethod
    def _encrypted_beyond_loopback(cls, security: Security, info: ValidationInfo) -> Security:
        outside = [one for one in info.data.get("bootstrap_servers", ()) if not is_loopback(one.rpartition(":")[0])]
        if security.protocol == "plaintext" and outside and not security.insecure:
            raise ValueError(
                f"expected protocol ssl or sasl_ssl, because {outside[0]} is not on loopback"
                " (insecure: true allows patient data in the clear)"
            )
        sasl = (security.sasl_mechanism, security.username, security.password_file)
        if security.protocol == "sasl_ssl" and None in sasl:
            raise ValueError("expected sasl_mechanism, username and password_file with protocol sasl_ssl")
        if security.protocol != "sasl_ssl" and any(sasl):
            raise ValueError("expected protocol sasl_ssl with sasl_mechanism, username or password_file")
        return security

    @field_validator("heartbeat_interval_ms")
    @classmethod
    def _several_beats_a_session(cls, interval: int, info: ValidationInfo) -> int:
        if interval * 3 > info.data.get("session_timeout_ms", interval * 3):
            raise ValueError("expected at most a third of session_timeout_ms")
        return interval


class File(_Section):
    path: FileName = "events.ndjson"
    format: Format = "canonical"
    codes_of: Literal["encounters", "pumps", "context", "observations"] | None = None
    alerts: FileName = "-"
    deadletters: FileName = "deadletters.ndjson"


class Store(_Section):
    path: FileName = "itbwatch.sqlite"
    url_file: FileName | None = None
    journal_days: PositiveInt = 14
    retention_days: int = Field(default=365, ge=30, le=36_500)
    outage_ms: int = Field(default=60_000, ge=0, le=240_000)  # Kafka gives a member up that does not poll for 300 s


class Http(_Section):
    host: Name = "127.0.0.1"
    port: int = Field(default=8480, ge=0, le=LAST_PORT)
    hosts: list[HostName] = Field(default=[], max_length=100)
    tokens_file: FileName | None = None
    readers_file: FileName | None = None
    proxies: list[Network] = Field(default=[], max_length=100)
    proxy_user_header: HeaderName = "x-forwarded-user"

    @model_validator(mode="after")
    def _asked_beyond_loopback(self) -> Http:
        if not is_loopback(self.host) and not (self.tokens_file or self.readers_file or self.proxies):
            raise ValueError(
                f"expected readers_file, tokens_file or proxies as well, because host {self.host} is not loopback:"
                " whoever reaches it would see patients' data"
            )
        return self


class CdsClient(_Section):
    issuer: Name
    jwks_file: FileName
    tenants: list[Name] = Field(default=[], max_length=1_000)


class CdsHooks(_Section):
    url: (
        Annotated[str, _like(r"https?://[^/?#\s]+(/[^?#\s]*[^/?#\s])?", "http(s)://host without a / at its end")] | None
    ) = None
    clients: list[CdsClient] = Field(default=[], max_length=20)

    @field_validator("clients")
    @classmethod
    def _apart(cls, clients: list[CdsClient], info: ValidationInfo) -> list[CdsClient]:
        if clients and info.data.get("url", "wrong itself") is None:
            raise ValueError("expected cds_hooks.url as well: the address that tokens are made for (aud)")
        if len({client.issuer for client in clients}) < len(clients):
            raise ValueError("expected each issuer once")
        return clients


class Poll(_Section):
    max_records: int = Field(default=500, ge=1, le=100_000)
    timeout_ms: int = Field(default=500, ge=1, le=2_000)


class AlertActive(_Section):
    enabled: bool = True
    cap: int = Field(default=500, ge=1, le=100_000)


class Limits(_Section):
    record_bytes: int = Field(default=1 << 20, ge=1_024, le=64 << 20)
    json_depth: int = Field(default=32, ge=4, le=200)


class Hl7v2(_Section):
    identifier_types: list[Name] = Field(default=["MR", "PI"], min_length=1, max_length=10)
    assigning_authority: Name | None = None
    stay_id: Literal["PV1-19", "PID-18"] = "PV1-19"
    character_set: Literal[
        "ASCII", "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9", "8859/15",
        "UNICODE UTF-8",
    ] = "UNICODE UTF-8"  # fmt: skip


class Exports(_Section):
    fhir: Name | None = None
    hl7v2: Name | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Exports:
        if self.fhir is not None and self.fhir == self.hl7v2:
            raise ValueError(f"{self.fhir!r} is where both go; expected two different names")
        return self

    def places(self) -> list[str]:
        """Where alerts go: topics, or files."""
        return [place for place in (self.fhir, self.hl7v2) if place is not None]


class Rules(_Section):
    catalogue: FileName | None = None


class Models(_Section):
    enabled: bool = True
    folder: FileName | None = None
    most_seconds: float = Field(default=5.0, gt=0, le=600)


class Shadow(_Section):
    overlay: FileName | None = None
    catalogue: FileName | None = None
    models: FileName | None = None


class Drift(_Section):
    reference: FileName | None = None
    patients: int = Field(default=20, ge=10, le=10_000)


class Logging(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"


class Spark(_Section):
    master: Name | None = None
    jars: FileName | None = None
    checkpoint: FileName = "itbwatch.spark"
    trigger_ms: int = Field(default=1_000, ge=0, le=600_000)
    options: dict[Name, str] = {}


class Settings(_Section):
    """The whole of config.yaml. Paths are relative to the folder the process was started in."""

    source: Literal["kafka", "file"] = "kafka"
    kafka: Kafka = Kafka()
    file: File = File()
    time: Literal["wall", "stream"] = "wall"
    merge_idle_ms: int = Field(default=0, ge=0, le=60_000)
    poll: Poll = Poll()
    store: Store = Store()
    http: Http = Http()
    cds_hooks: CdsHooks = CdsHooks()
    wards: list[Name] = Field(default=[], max_length=200)
    pump_register: Literal["complete", "partial"] = "partial"
    identity_key_file: FileName | None = None
    alert_active: AlertActive = AlertActive()
    code_map: dict[Name, SiteCode] = {}
    fahrenheit_feeds: bool = False
    limits: Limits = Limits()
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    hl7v2: Hl7v2 = Hl7v2()
    exports: Exports = Exports()
    rules: Rules = Rules()
    overlay: FileName | None = None
    models: Models = Models()
    shadow: Shadow | None = None
    drift: Drift = Drift()
    spark: Spark = Spark()
    logging: Logging = Logging()

    @field_validator("exports")
    @classmethod
    def _exports_apart(cls, exports: Exports, info: ValidationInfo) -> Exports:
        source, kafka, file = (info.data.get(name) for name in ("source", "kafka", "file"))
        taken: set[str] = set()  # what is wrong itself takes no name
        if source == "file" and file is not None:
            taken = {file.path, file.alerts, file.deadletters}
        elif source == "kafka":
            taken = set(kafka.topics.model_dump().values()) if kafka is not None else taken
            for name in exports.places():
                if not _TOPIC.fullmatch(name):
                    raise ValueError(f"{name!r}: expected a topic name (letters, digits, '.', '_', '-'; 249 at most)")
        for name in exports.places():
            if name in taken and name != "-":
                raise ValueError(f"{name!r} has another use already; expected a name of its own")
        return exports

    def canary_s(self) -> float:
        """How often a canary begins its trip, seconds; 0 = never."""
        if self.source == "file":
            return 0.0
        ms = self.kafka.canary_ms
        if ms is None:
            ms = CANARY_MS if self.time == "wall" else 0
        return ms / 1_000

    def identity_key(self) -> bytes:
        """The key of alert ids and of pseudonyms; without a key file the public one of demo and replay.

        Raises:
            ConfigError: the key file cannot be used.
        """
        if self.identity_key_file is None:
            return PUBLIC_KEY
        key = read_secret(self.identity_key_file, "$.identity_key_file")
        if len(key) < SMALLEST_KEY:
            problem = f"holds {len(key)} bytes; expected {SMALLEST_KEY} or more"
            raise ConfigError([f"config.yaml $.identity_key_file: {problem}"])
        return key


def read_secret(path: str, where: str) -> bytes:
    """The content of a file that only its owner may read, without surrounding white space.

    Raises:
        ConfigError: it is not there, or others may read it.
    """
    try:
        file = Path(path)
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError([f"config.yaml {where}: {path!r} is open to others; expected mode 0600"])
        return file.read_bytes().strip()
    except OSError as error:
        problem = f"{path!r} cannot be read ({error.strerror}); expected a file of mode 0600"
        raise ConfigError([f"config.yaml {where}: {problem}"]) from error


def read_secret_line(path: str, where: str) -> str:
    """The one line of text in such a file.

    Raises:
        ConfigError: as ``read_secret``, or it is empty, several lines, or no UTF-8; nothing of it is repeated.
    """
    try:
        line = read_secret(path, where).decode()
    except UnicodeDecodeError:
        line = ""
    if not line or UNWRITABLE.search(line):
        raise ConfigError([f"config.yaml {where}: {path!r} cannot be used; expected one line of UTF-8 text"])
    return line
