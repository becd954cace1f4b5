"""The configuration file: what it accepts, and what its errors say."""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from provider.config import Config, Engine, schema
from provider.configfile import load_config, scalar_paths
from provider.errors import ConfigError

MINIMAL = """
engines:
  - url: https://engine.example.com/ovirt-engine
    username: kubernetes@internal
    password_file: /etc/ovirt-ccm/password
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def load(path: Path, text: str) -> Config:
    path.write_text(text, "utf-8")
    return load_config(path)


def problems(path: Path, text: str) -> tuple[str, ...]:
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value.problems


def engine_with(**values: str) -> str:
    return MINIMAL + "".join(f"    {key}: {value}\n" for key, value in values.items())


def test_the_smallest_file_has_sound_defaults(config_file: Path) -> None:
    config = load(config_file, MINIMAL)

    assert config.engines[0].region == config.engines[0].name == "ovirt"
    assert config.selection_of(config.engines[0]).tag == "docker-host"
    assert config.registration.mode == "create"
    assert config.intervals.poll == timedelta(seconds=30)
    assert config.server.address == ("::", 10258)
    assert not config.server.is_loopback


def test_values_of_the_file_are_read(config_file: Path) -> None:
    config = load(
        config_file,
        engine_with(name="east", region="r1", selection="{tag: nodes}")
        + "intervals: {poll: 1h30m, resync: 500ms}\n"
        + "addresses: {external: [203.0.113.0/24], families: [ipv6]}\n"
        + 'registration: {taints: ["a=b:NoSchedule", "c:NoExecute"]}\n'
        + 'server: {bind: "[::1]:8080"}\n',
    )

    assert config.selection_of(config.engines[0]).tag == "nodes"
    assert config.intervals.poll == timedelta(hours=1, minutes=30)
    assert config.intervals.resync == timedelta(milliseconds=500)
    assert config.addresses.external == (ip_network("203.0.113.0/24"),)
    assert config.registration.parsed_taints == (
        ("a", "b", "NoSchedule"),
        ("c", None, "NoExecute"),
    )
    assert config.server.address == ("::1", 8080)


def test_the_environment_overrides_a_scalar(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVIRT_CCM_INTERVALS__POLL", "10s")

    config = load(config_file, MINIMAL + "intervals: {poll: 1m, resync: 2m}\n")

    assert config.intervals.poll == timedelta(seconds=10)
    assert config.intervals.resync == timedelta(minutes=2)


@pytest.mark.parametrize(("variable", "path"), scalar_paths().items())
def test_each_scalar_has_a_variable_that_is_listened_to(
    variable: str, path: tuple[str, ...], config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "=nonsense=;")

    # A file that is given alone is the fault of its section, whose error names both.
    assert any(path[-1] in problem for problem in problems(config_file, MINIMAL))


def test_an_unknown_variable_is_an_error_with_a_suggestion(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVIRT_CCM_INTERVAL__POLL", "10s")

    (problem,) = problems(config_file, MINIMAL)

    assert problem.endswith("sets no scalar of the file; did you mean OVIRT_CCM_INTERVALS__POLL?")


@pytest.mark.parametrize(
    "variable",
    [
        "OVIRT_CCM_SERVICE_HOST",
        "OVIRT_CCM_SERVICE_PORT_METRICS",
        "OVIRT_CCM_PORT",
        "OVIRT_CCM_PORT_10258_TCP_ADDR",
        "OVIRT_CCM_METRICS_PORT_10258_TCP",
    ],
)
def test_what_kubernetes_tells_of_a_service_is_no_setting(
    variable: str, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "tcp://10.96.0.7:10258")

    assert load(config_file, MINIMAL).engines


def test_engines_of_one_name_are_reported_beside_other_errors(config_file: Path) -> None:
    other = MINIMAL.removeprefix("\nengines:\n").replace("engine.example", "other.example")

    found = problems(config_file, MINIMAL + other + "intervals: {poll: 10}\n")

    assert found[0] == "engines: name 'ovirt' is used twice; give each its own"
    assert found[1].startswith("intervals.poll: ")


def test_all_errors_are_reported_at_once_with_their_paths(config_file: Path) -> None:
    found = problems(
        config_file,
        """
engines:
  - {name: east, url: "http://engine.example.com", usernam: a@b, password_file: /p}
intervals: {poll: 10}
registration: {mode: creat}
limits: {workers: 0}
extra: 1
""",
    )

    assert [line.split(":")[0] for line in found] == [
        "engines[0].url",
        "engines[0].username",
        "engines[0].usernam",
        "registration.mode",
        "intervals.poll",
        "limits.workers",
        "extra",
    ]


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("intervals: {poll: 10}", "10 is not a duration; write a number and a unit: 30s"),
        ("intervals: {poll: 0s}", "must be longer than 0s"),
        ("registration: {mode: creat}", "should be 'create' or 'adopt'"),
        ("registration: {taints: [x]}", "write key=value:Effect"),
        ("registration: {labels: {a/b/c: d}}", "it is no valid label key"),
        ("topology: {zone: rack}", "write cluster, data_center, host or tag:<parent tag>"),
        ("addresses: {exclude: [10.0.0.0/33]}", "write a CIDR"),
        ("addresses: {exclude: [5]}", "5 is not a network"),
        ("addresses: {families: []}", "at least 1 item"),
        ("addresses: {exclude: 10.0.0.0/8}", "should be a list; begin each entry with '- '"),
        ("server:", "should have keys and values below it; leave it out when it has none"),
        ("registration: {labels: x}", "should have keys and values below it"),
        ("identity: {fqdn: maybe}", "should be true or false"),
        ("limits: {workers: 1.5}", "should be a whole number"),
        ("limits: {workers: many}", "should be a whole number"),
        ("server: {bind: '1'}", "write address and port"),
        ("server: {key_file: /k.pem}", "give both certificate_file and key_file"),
        ("selection: {tag: 'a b'}", "an oVirt tag has letters"),
        ("selection: {search: 'status=up'}", "'status' is not allowed here"),
        ("selection: {search: 'sortby name'}", "'sortby' is not allowed here"),
        ("selection: {search: 'name=a page 2'}", "'page' is not allowed here"),
        ("selection: {search: '(name=a)'}", "'(' is not allowed here"),
        ("selection: {search: 'Tag=x'}", "'Tag=' is not allowed here"),
        ("selecton: {}", "did you mean 'selection'?"),
        ("selection: {taag: x}", "did you mean 'tag'?"),
        ("selection: {zzz: x}", "known are: tag, clusters, data_centers, search"),
        ("selection:\n  tag: a\n  tag: b", "line 8, column 3: the key 'tag' comes twice"),
        ("selection: [", "not YAML: line"),
        ("selection:\n\ttag: a", "line 7, column 1: found character '\\t'"),
        (" selection: {}", "look at the indentation"),
    ],
)
def test_an_error_says_what_would_be_right(addition: str, words: str, config_file: Path) -> None:
    (problem,) = problems(config_file, MINIMAL + addition + "\n")

    assert words in problem


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("url", "engine.example.com", "write it as https://"),
        ("url", "https://user:pw@engine.example.com", "must hold no user"),
        ("url", "http://192.0.2.1/ovirt-engine", "use https"),
        ("username", "admin", "write user and profile"),
        ("name", "East", "lower-case letters"),
    ],
)
def test_an_engine_is_checked(key: str, value: str, words: str, config_file: Path) -> None:
    engine = {"url": "https://e", "username": "a@b", "password_file": "/p", key: value}

    (problem,) = problems(config_file, f"engines: [{engine}]")

    assert words in problem


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:1", "localhost"])
def test_http_is_allowed_on_loopback(host: str) -> None:
    engine = Engine(
        url=f"http://{host}/ovirt-engine/api/", username="a@b", password_file=Path("/p")
    )

    assert engine.url == f"http://{host}/ovirt-engine"


@pytest.mark.parametrize("what", ["name", "region", "url"])
def test_engines_differ(what: str, config_file: Path) -> None:
    engines = [
        {"name": n, "region": n, "url": f"https://{n}", "username": "a@b", "password_file": "/p"}
        for n in ("one", "two")
    ]
    engines[1][what] = engines[0][what]

    (problem,) = problems(config_file, f"engines: {engines}")

    assert f"engines: {what}" in problem
    assert "used twice" in problem


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="No such file or directory; name the file with --config"
    ):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("content", [b"- a\n", b"", b"\xff\xfe"])
def test_a_file_that_is_no_mapping_is_an_error(content: bytes, config_file: Path) -> None:
    config_file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"must be a mapping|not a UTF-8 text"):
        load_config(config_file)


def test_the_schema_forbids_unknown_keys_and_describes_each() -> None:
    document = schema()

    assert document["additionalProperties"] is False
    for section in [document, *document["$defs"].values()]:
        for name, field in section["properties"].items():
            assert field.get("description") or "$ref" in field, name


def test_the_faults_of_rules_name_their_place_and_their_remedy(config_file: Path) -> None:
    rules = """
rules:
  - {tag: gpu, labels: {example.com/gpu: true, kubernetes.io/x: y}}
  - {tagg: gpu, labels: {a: b}}
  - {tag: gpu}
"""
    said = problems(config_file, MINIMAL + rules)

    assert "rules[0].labels.example.com/gpu: True is wrong" in said[0]
    assert said[0].endswith("put it in quotes")
    assert said[1].startswith("rules[0].labels.kubernetes.io/x: 'kubernetes.io/x' belongs to")
    assert said[2:] == (
        "rules[1].tagg: is not a known key; did you mean 'tag'?",
        "rules[2]: it does nothing: give it labels, taints or label",
    )
