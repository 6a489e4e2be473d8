"""What OpenTelemetry sees of a keyring, through its real SDK."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from sqlalchemy_cmk import KeyRevoked, KeyUnavailable
from tests.support.world import World

PROVIDER = "CountingProvider"


class Watched:
    """A world whose telemetry is kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reader = InMemoryMetricReader()
        self.spans = InMemorySpanExporter()
        self.meters = MeterProvider([self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))

    def metrics(self) -> dict[str, list[tuple[dict[str, object], float]]]:
        """By a metric's name, its attributes and value; of a histogram, how many it counted."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: [
                (dict(point.attributes or {}), getattr(point, "count", None) or getattr(point, "value", 0))
                for point in metric.data.data_points
            ]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def watched(lite: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    # OpenTelemetry takes one provider in a process; another test may be first.
    watched = Watched(lite)
    monkeypatch.setattr(metrics, "get_meter", watched.meters.get_meter)
    monkeypatch.setattr(trace, "get_tracer", watched.tracers.get_tracer)
    lite.write("acme", "one")
    lite.restart()
    yield watched
    watched.meters.shutdown()
    watched.tracers.shutdown()


def test_every_call_to_a_kek_is_timed_and_has_a_span(watched: Watched) -> None:
    watched.world.write("new", "one")
    calls = {"wrap": 1, "unwrap": 1}
    durations = watched.metrics()["cmk.provider.duration"]
    expected = [
        ({"cmk.operation": operation, "cmk.provider": PROVIDER, "cmk.outcome": "ok"}, count)
        for operation, count in calls.items()
    ]
    assert sorted(durations, key=str) == sorted(expected, key=str)
    assert [span.name for span in watched.spans.get_finished_spans()] == ["cmk.wrap", "cmk.unwrap"]


def test_cold_opens_and_hits_are_counted(watched: Watched) -> None:
    for _ in range(3):
        watched.world.read()
        watched.world.keyring.warm(["acme"], new=True)
    seen = watched.metrics()
    assert seen["cmk.cold_opens"] == [({}, 1)]
    ((_, hits),) = seen["cmk.cache.hits"]
    assert hits >= 2
    watched.world.now += 300
    watched.world.read()
    assert watched.metrics()["cmk.cold_opens"] == [({}, 1)]


@pytest.mark.parametrize(
    ("error", "metric", "outcome"),
    [
        (KeyRevoked("away"), "cmk.revocations", "revoked"),
        (KeyUnavailable("away"), "cmk.outages", "unavailable"),
    ],
)
def test_revocations_and_outages_are_told_apart(
    watched: Watched, error: Exception, metric: str, outcome: str
) -> None:
    def fail(kek_uri: str) -> None:
        raise error

    watched.world.provider.fault = fail
    with pytest.raises(type(error)):
        watched.world.read()
    seen = watched.metrics()
    attributes = {"cmk.operation": "unwrap", "cmk.provider": PROVIDER}
    assert seen[metric] == [(attributes, 1)]
    assert {"cmk.revocations", "cmk.outages"} & set(seen) == {metric}
    assert ({**attributes, "cmk.outcome": outcome}, 1) in seen["cmk.provider.duration"]
    (span,) = watched.spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR and span.attributes is not None
    assert span.attributes["error.type"] == type(error).__name__


@pytest.mark.parametrize("asked_for", [False, True])
def test_spans_name_no_kek_and_no_file_unless_asked_to(watched: Watched, asked_for: bool) -> None:
    world = watched.world
    world.restart(record_exceptions=asked_for)
    for damage in (lambda: world.provider.disable("local:pmk"), world.provider.path.unlink):
        damage()
        world.keyring.forget()
        with pytest.raises((KeyRevoked, KeyUnavailable)) as caught:
            world.read()
        told = "".join(span.to_json() for span in watched.spans.get_finished_spans())
        assert all((name in told) is asked_for for name in (str(caught.value), "exception.message"))
    assert (str(world.provider.path) in told) is ("local:pmk" in told) is asked_for


def test_telemetry_names_no_tenant_and_no_value(watched: Watched) -> None:
    watched.world.keyring.assign("acme", "local:acme")
    watched.world.write("acme", "a secret")
    told = [watched.reader.get_metrics_data().to_json()]  # type: ignore[union-attr]
    told += [span.to_json() for span in watched.spans.get_finished_spans()]
    assert all("a secret" not in one and "acme" not in one for one in told)


def test_without_the_api_everything_else_goes_on(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["opentelemetry"] = None
from sqlalchemy import create_engine
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
engine = create_engine("sqlite:///{tmp_path}/a.db")
keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider("{tmp_path}/keys.json")])
keyring.protect(Base)
Base.metadata.create_all(engine)
keyring.warm(["acme"], new=True)
keyring.forget()
keyring.warm(["acme"], new=True)
keyring.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_page_names_every_metric(watched: Watched) -> None:
    page = (Path(__file__).parents[2] / "docs" / "revocation.md").read_text(encoding="utf-8")
    for error in (KeyRevoked("away"), KeyUnavailable("away")):
        watched.world.provider.fault = Mock(side_effect=error)
        watched.world.keyring.forget()
        with pytest.raises(type(error)):
            watched.world.read()
    watched.world.provider.fault = lambda kek_uri: None
    assert watched.world.read() == ["one"]
    watched.world.keyring.keys.background.flush()
    assert set(re.findall(r"^\| `(cmk\.[a-z._]+)`", page, re.MULTILINE)) == set(watched.metrics())
