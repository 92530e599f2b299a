"""compose.yaml as far as it can be judged without an engine: pinned, on loopback, bounded, and made of files that exist.

Whether it starts is for a machine with Docker to say. The programs and configurations in it are run by the other tests
of this folder, at the same versions.
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import chain

import pytest
import yaml
from stack import collectors, programs

from attune.telemetry import names as n

COLLECTOR = collectors.COLLECTOR
COMPOSE = yaml.safe_load((COLLECTOR / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PUBLISHED = {name: service for name, service in SERVICES.items() if "ports" in service}
# What the Compose specification calls a service's keys, as far as they are used here.
KEYS = {
    "build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "init",
    "logging", "network_mode", "ports", "profiles", "read_only", "restart", "security_opt", "user", "volumes",
}  # fmt: skip
IMAGES = {
    "agent": ("otel/opentelemetry-collector:", "otelcol"),
    "gateway": ("otel/opentelemetry-collector-contrib:", "otelcol"),
    "prometheus": ("prom/prometheus:v", "prometheus"),
    "alertmanager": ("prom/alertmanager:v", "alertmanager"),
}


def mounts(service: dict) -> list[tuple[str, str]]:
    return [tuple(volume.split(":")[:2]) for volume in service.get("volumes", ())]


def test_only_known_keys_are_used():
    """A misspelt key is an error of the engine's; here it is one of the test's."""
    assert set(COMPOSE) <= {"name", "services", "volumes", "x-service"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_has_no_rights(name):
    service = SERVICES[name]
    image = service.get("image") or re.search(r"FROM (\S+)", service["build"]["dockerfile_inline"])[1]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image)
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "owner" else [])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_port_is_published_on_loopback_only(name):
    for port in SERVICES[name]["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port)


def test_what_stores_and_telemetry_need_no_port_of_the_host():
    """The trace store and the gateway are reached through the others."""
    assert set(PUBLISHED) == {"agent", "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists_and_cannot_be_written(name):
    """A file that is missing would become an empty folder in the container."""
    for volume in SERVICES[name].get("volumes", ()):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert (COLLECTOR / source).resolve().exists(), source
            assert target.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_is_used():
    assert set(COMPOSE["volumes"]) == {
        source for it in SERVICES.values() for source, _ in mounts(it) if "/" not in source
    }


@pytest.mark.parametrize("name", SERVICES)
def test_it_waits_for_services_that_can_be_waited_for(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        condition = how["condition"]
        assert condition in {"service_started", "service_healthy", "service_completed_successfully"}
        assert condition != "service_healthy" or "healthcheck" in SERVICES[other]


def test_the_health_of_those_without_a_shell_is_asked_from_outside():
    """Collectors and Tempo cannot ask themselves: `ready` asks, and `up --wait` waits for it."""
    asked = " ".join(SERVICES["ready"]["healthcheck"]["test"])
    without = [name for name, it in SERVICES.items() if "healthcheck" not in it and name not in {"load", "owner"}]
    assert sorted(without) == ["agent", "gateway", "tempo"]
    assert all(f"http://{name}:" in asked for name in without)


@pytest.mark.parametrize("name", IMAGES)
def test_what_runs_in_a_container_is_what_the_tests_run(name):
    """The same version as `make stack` builds."""
    image, program = IMAGES[name]
    versions = {binary.name: part.version for part in programs._shelf().PARTS for binary in part.binaries}
    assert SERVICES[name]["image"] == image + versions[program]


@pytest.mark.parametrize("name", ["agent", "gateway"])
def test_a_collector_is_told_only_what_it_reads(name):
    """And its own limit of memory is below the container's."""
    service = SERVICES[name]
    text = (COLLECTOR / f"{name}.yaml").read_text(encoding="utf-8")
    for variable in service["environment"]:
        assert variable == "GOMEMLIMIT" or f"${{env:{variable}:-" in text, variable
    size = {"M": 1, "G": 1024}
    limit = service["deploy"]["resources"]["limits"]["memory"]
    container = int(limit[:-1]) * size[limit[-1]]
    assert int(service["environment"]["COLLECTOR_MEMORY_MIB"]) <= 0.8 * container
    assert int(service["environment"]["GOMEMLIMIT"].removesuffix("MiB")) == pytest.approx(0.8 * container, abs=1)


def test_every_address_is_one_of_a_service():
    """In compose.yaml, and in what Prometheus scrapes and tells."""
    told = [str(value) for service in SERVICES.values() for value in service.get("environment", {}).values()]
    names = re.findall(r"http://(\w+):\d+", " ".join(told))
    config = yaml.safe_load((COLLECTOR / "prometheus.yml").read_text(encoding="utf-8"))
    scraped = [static["targets"] for job in config["scrape_configs"] for static in job["static_configs"]]
    targets = [
        it.partition(":")[0]
        for it in chain(*scraped, config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"])
    ]
    assert set(names) | set(targets) - {"127.0.0.1"} <= set(SERVICES)
    assert len(names) >= 4


def test_datasources_are_services_on_their_ports():
    """What Grafana is told of its stores is what stands here."""
    path = COLLECTOR.parent / "grafana" / "provisioning" / "datasources" / "attune.yaml"
    for source in yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]:
        assert re.fullmatch(r"http://(\w+):\d+", source["url"])[1] in SERVICES


def test_grafana_finds_its_dashboards():
    dashboards = COLLECTOR.parent / "grafana" / "dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder = {target: source for source, target in mounts(SERVICES["grafana"])}["/var/lib/grafana/dashboards"]
    assert (COLLECTOR / folder).resolve() == dashboards
    assert (dashboards / home.rpartition("/")[2]).is_file()


def test_who_looks_may_only_look():
    told = SERVICES["grafana"]["environment"]
    assert told["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert not [name for name in told if "PASSWORD" in name]


def test_the_example_holds_every_variable_with_its_default():
    text = (COLLECTOR / "compose.yaml").read_text(encoding="utf-8")
    used = dict(re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)\}", text))
    assert "${" not in re.sub(r"\$\{\w+:-[^}]*\}", "", text)
    lines = (COLLECTOR / ".env.example").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=", 1) for line in lines if line and line[0] != "#") == used


def test_prometheus_is_started_with_what_it_needs():
    command = SERVICES["prometheus"]["command"]
    assert {"--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"} <= set(command)


def test_what_the_load_is_built_from_exists():
    """Copied from the checkout, which is the build's context."""
    for line in SERVICES["load"]["build"]["dockerfile_inline"].splitlines():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (COLLECTOR.parent / source).exists(), source


def test_the_load_fills_every_stage_without_a_key(tmp_path, outside):
    """Run as it is, for a few seconds: four stages, judged answers, decisions."""
    wanted = {("triage", "label"), ("triage", "reply"), ("review", "draft"), ("review", "verdict")}
    with collectors.Sink() as store:
        environ = {
            "PATH": outside.get("PATH", ""), "ATTUNE_HOME": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": store.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_BSP_SCHEDULE_DELAY": "500",
        }  # fmt: skip
        command = [sys.executable, COLLECTOR / "load.py"]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:

            def stages() -> set[tuple[str, str]]:
                metric = store.metrics().get(n.QUALITY_COUNT)
                told = (
                    [collectors.read(it.attributes) for it in metric.sum.data_points if it.as_int or it.as_double]
                    if metric
                    else []
                )
                return {(it[n.WORKFLOW], it[n.STAGE]) for it in told}

            assert collectors.soon(lambda: stages() == wanted, 25), stages()
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert said == ""
    assert list(tmp_path.iterdir())
