"""What a site deploys: right by the schemas of those who will read it, and of one piece with each other."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.names import ROOT
from tests.pipelines.live import done

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
NO_SCHEMA = {"config.yaml", "kustomization.yaml", "servicemonitor.yaml"}  # ours, kustomize's, the operator's
SECRETS = {
    "store.url": "postgresql+psycopg://itbwatch:secret@postgres/itbwatch?sslmode=verify-full",
    "identity.key": "0" * 64,
    "http.tokens": f"nurse: {'t' * 32}",
    "kafka.password": "secret",
    "ca.crt": "",
}
CONFIGS = [*sorted(DEPLOY.glob("compose/*.config.yaml")), KUBERNETES / "config.yaml"]


def read(path: Path):
    return yaml.safe_load(path.read_text())


def run(program: str, *words: object, cwd: Path = ROOT) -> str:
    beside = Path(sys.executable).parent / program  # tests need no activated environment
    command = [str(beside) if beside.exists() else program, *map(str, words)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    assert 0 == finished.returncode, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The folder that paths are relative to, with its secrets."""
    (tmp_path / "secrets").mkdir()
    for name, text in SECRETS.items():
        (tmp_path / "secrets" / name).touch(0o600)
        (tmp_path / "secrets" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_configuration_that_is_deployed_passes_check(site, config):
    assert f"{config}: read" in done("check", "--config", config)


def test_no_configuration_is_forgotten_here():
    found = [path for path in DEPLOY.rglob("*.yaml") if "bootstrap_servers" in path.read_text()]

    assert sorted(CONFIGS) == sorted(found)


# -- compose -------------------------------------------------------------------------------------------------------------

COMPOSE = read(DEPLOY / "compose.yaml")
OURS = [name for name in COMPOSE["services"] if name.startswith("itbwatch-")]


def test_compose_takes_the_file():
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_everything_that_compose_mounts_is_here_but_for_the_secrets():
    volumes = [volume.split(":")[0] for one in COMPOSE["services"].values() for volume in one.get("volumes", [])]
    files = [volume for volume in volumes if volume.startswith(".") and not volume.endswith("/secrets")]

    assert len(files) > 5
    assert [] == [file for file in files if not (DEPLOY / file).exists()]
    assert set(volumes) - {one for one in volumes if one.startswith(".")} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_a_worker_of_compose_may_do_nothing_but_its_work(name):
    worker = COMPOSE["services"][name]

    assert worker["read_only"] is True
    assert ["ALL"] == worker["cap_drop"]
    assert ["no-new-privileges:true"] == worker["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in worker.get("ports", []))
    assert name == read(DEPLOY / f"compose/{name}.config.yaml")["kafka"]["group_instance_id"]


def test_the_two_workers_differ_in_their_names_only():
    one, two = (path.read_text() for path in CONFIGS[:2])

    assert 2 == len(OURS)
    assert one.replace("itbwatch-0", "itbwatch-1") == two


def test_what_prometheus_and_grafana_look_for_are_services_of_compose():
    [job] = read(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
    [source] = read(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]

    assert OURS == [target.split(":")[0] for target in job["static_configs"][0]["targets"]]
    assert source["url"].split("/")[-1].split(":")[0] in COMPOSE["services"]


# -- kubernetes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(KUBERNETES.glob("*.yaml")) if path.name not in NO_SCHEMA],
    ids=lambda path: path.name,
)
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_kubernetes_takes_the_manifest(path, version):
    assert " passed " in run("kubernetes-validate", "--strict", "-k", version, path)


def test_the_kustomization_names_every_manifest():
    kustomization = read(KUBERNETES / "kustomization.yaml")
    manifests = {path.name for path in KUBERNETES.glob("*.yaml")} - {"config.yaml", "kustomization.yaml"}

    assert manifests == set(kustomization["resources"])
    assert [{"name": "itbwatch", "files": ["config.yaml"]}] == kustomization["configMapGenerator"]


def test_every_selector_finds_the_pods_and_the_monitor_finds_the_port():
    pod = read(KUBERNETES / "statefulset.yaml")["spec"]["template"]
    service = read(KUBERNETES / "service.yaml")
    monitor = read(KUBERNETES / "servicemonitor.yaml")["spec"]
    selectors = [
        read(KUBERNETES / "statefulset.yaml")["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        read(KUBERNETES / "poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"],
        read(KUBERNETES / "networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
    ]

    assert all(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [one["name"] for one in service["spec"]["ports"]] == [one["port"] for one in monitor["endpoints"]]
    assert "itbwatch" == service["metadata"]["labels"][monitor["jobLabel"]], "the alerts look for that job"


def test_a_pod_runs_as_nobody_in_particular_on_a_root_that_it_cannot_write():
    pod = read(KUBERNETES / "statefulset.yaml")["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
        assert container["resources"]["limits"]["memory"]


def test_a_probe_asks_under_a_name_that_is_answered():
    [container] = read(KUBERNETES / "statefulset.yaml")["spec"]["template"]["spec"]["containers"]
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]

    assert ["/readyz", "/readyz", "/healthz"] == [probe["path"] for probe in probes]
    assert all([{"name": "Host", "value": "localhost"}] == probe["httpHeaders"] for probe in probes)


# -- systemd -------------------------------------------------------------------------------------------------------------


def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path):
    command = tmp_path / "itbwatch"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "itbwatch.service"
    unit.write_text(
        (DEPLOY / "systemd/itbwatch.service").read_text().replace("/opt/itbwatch/bin/itbwatch", str(command))
    )

    assert "" == run("systemd-analyze", "verify", "--man=no", unit)
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)  # tenths: 2.0 of 10


# -- the image -----------------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say():
    assert "" == run("hadolint", "--no-color", DEPLOY / "Dockerfile").strip()


def test_the_image_ends_as_a_user_without_a_name_or_a_right():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()

    assert ["10001:10001"] == [line.split()[1] for line in lines if line.startswith("USER ")]
    assert not [line for line in lines if line.startswith("ADD ") or "sudo" in line]


def test_all_that_the_image_copies_is_let_through_to_its_builder():
    copied = [
        line.split()[1:-1] for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")
    ]
    sources = [source for some in copied for source in some if not source.startswith(("/", "--"))]
    let = [
        line[1:].rstrip("*")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]

    assert len(sources) > 6
    assert [] == [source for source in sources if not source.startswith(tuple(let))]
    assert [] == [source for source in sources if not (ROOT / source).exists()]
