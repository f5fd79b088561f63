"""Settings: the sample of the README works, errors are sentences, and the reference is up to date."""

import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from gatewayz.core.faults import Fault
from gatewayz.observe.metrics import FAMILIES, render_metrics_reference
from gatewayz.providers.changes_reference import changes_reference
from gatewayz.providers.reference import providers_reference
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.settings import Settings, catalog_sources_from_settings, load_settings
from gatewayz.settings_checks import RANGES, check_settings
from gatewayz.settings_reference import (
    DESCRIPTIONS,
    iter_settings,
    render_settings,
    render_settings_reference,
    render_settings_schema,
)

ROOT = Path(__file__).parents[2]
SAMPLE = """
web: {host: 127.0.0.1, port: 8080, trusted_proxies: [], cors_origins: []}
data_dir: ./data
providers:
  openai:    {base_url: "http://127.0.0.1:8899/openai/v1", key: "${OPENAI_API_KEY}", priority: 1}
  groq:      {credentials: [{key: "${GROQ_A}", weight: 2}, {key: "${GROQ_B}"}]}
  fireworks: {enabled: false}
  my-vllm:   {dialect: openai_chat, base_url: "http://127.0.0.1:8001/v1", free: true, quirks: {max_tokens_field: max_tokens}}
models:
  - id: openai/gpt-4o                      # canonical id; USD per million tokens
    aliases: [gpt-4o]
    context: 128000
    offers:
      - {provider: openai, upstream_id: gpt-4o, price: {input: "2.50", output: "10.00", cache_read: "1.25"}}
routing: {chain: [onerouter, openai], attempts: 3, breaker: {failures: 5, open_s: 300}, deadlines: {first_event_s: 60}}
limits: {key_rpm: 250, key_concurrency: 50}
"""


@pytest.fixture
def empty_dir(tmp_path, monkeypatch):
    """An empty directory with an empty environment of ours."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("GATEWAYZ_", "OPENAI_", "GROQ_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def providers(loaded):
    return providers_from(provider_rows(), loaded.environment, loaded.settings.providers)


@pytest.mark.parametrize("with_keys", [False, True])
def test_the_sample_works_as_it_stands(empty_dir, monkeypatch, with_keys):
    (empty_dir / "gatewayz.yaml").write_text(SAMPLE)
    if with_keys:
        for name in ("OPENAI_API_KEY", "GROQ_A", "GROQ_B"):
            monkeypatch.setenv(name, f"sk-{name}")
    loaded = load_settings()
    table = providers(loaded)
    assert (table["openai"].off == "") == with_keys
    assert [credential.weight for credential in table["groq"].credentials] == (
        [2, 1] if with_keys else []
    )
    assert "switched off" in table["fireworks"].off
    assert table["my-vllm"].off == ""
    assert table["my-vllm"].free
    [model] = catalog_sources_from_settings(loaded.settings).operator_models
    price = model.model.offers[0].price
    assert price is not None
    assert price.output == 10_000_000
    assert loaded.settings.routing.chain == ("onerouter", "openai")
    assert loaded.settings.limits.key_rpm == 250


def test_none_is_needed(empty_dir):
    loaded = load_settings()
    assert loaded.source == "defaults"
    assert loaded.settings.web.port == 8080


def test_the_order_is_file_dotenv_environment_flags(empty_dir, monkeypatch):
    (empty_dir / "gatewayz.yaml").write_text("web: {port: 1, host: file}\ndata_dir: file\n")
    (empty_dir / ".env").write_text("GATEWAYZ_WEB__PORT=2\nGATEWAYZ_DATA_DIR=dotenv\n")
    assert (load_settings().settings.web.port, load_settings().settings.web.host) == (2, "file")
    monkeypatch.setenv("GATEWAYZ_WEB__PORT", "3")
    assert (load_settings().settings.web.port, load_settings().settings.data_dir) == (3, "dotenv")
    assert load_settings(flags={"web": {"port": 4, "host": None}}).settings.web.port == 4
    other = empty_dir / "other.yaml"
    other.write_text("web: {host: other}\n")
    assert load_settings(str(other)).settings.web.host == "other"
    monkeypatch.setenv("GATEWAYZ_CONFIG", str(other))
    assert load_settings().settings.web.host == "other"
    monkeypatch.setenv("GATEWAYZ_ROUTING__BREAKER__FAILURES", "9")
    monkeypatch.setenv("GATEWAYZ_ROUTING__CHAIN", "[openai, groq]")
    assert load_settings().settings.routing.breaker.failures == 9
    assert load_settings().settings.routing.chain == ("openai", "groq")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web: {prot: 1}", "web.prot: no such setting; did you mean 'port'"),
        ("wbe: {}", "wbe: no such setting; did you mean 'web'"),
        ("web: {port: many}", "web.port: expected `int`"),
        ("web: {port: 99999}", "web.port: 99999 is not from 0 to 65535"),
        ("data_dir: ${NOBODY_SET_THIS}", "the environment has no NOBODY_SET_THIS"),
        (
            "models: [{id: a/b, offers: [{provider: openai, upstream_id: x, price: {input: 2.5}}]}]",
            "quote it: money is text",
        ),
        (
            "models: [{id: a/b, offers: [{provider: openai, upstream_id: x, price: {input: '-2'}}]}]",
            "must be from 0",
        ),
        ("routing: {attempts: 0}", "routing.attempts"),
        ("routing: {breaker: {failure: 3}}", "did you mean 'failures'"),
        ("[1, 2]", "must hold sections"),
        ("web: {", "cannot be read as YAML"),
    ],
)
def test_errors_are_sentences_that_say_where_and_what(empty_dir, text, message):
    (empty_dir / "gatewayz.yaml").write_text(text)
    with pytest.raises(Fault) as caught:
        load_settings()
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("providers: {opnai: {key: x}}", "did you mean 'openai'"),
        ("providers: {openai: {quirks: {drops: []}}}", "did you mean 'drop'"),
        ("providers: {openrouter: {quirks: {cache_marks: '('}}}", "no regular expression"),
        ("providers: {openai: {quirks: {drop_by_model: {'[': [seed]}}}}", "no regular expression"),
        ("providers: {openai: {dialect_by_model: {'*': gemini}}}", "no regular expression"),
        ("providers: {mine: {dialect: smoke, base_url: 'http://x'}}", "'smoke' is none of"),
        ("providers: {Mine.x: {dialect: openai_chat, base_url: 'http://x'}}", "lower-case"),
    ],
)
def test_errors_in_providers_are_sentences_too(empty_dir, text, message):
    (empty_dir / "gatewayz.yaml").write_text(text)
    with pytest.raises(Fault) as caught:
        providers(load_settings())
    assert message in caught.value.message


def test_secrets_are_hidden_when_settings_are_shown(empty_dir):
    (empty_dir / "gatewayz.yaml").write_text(
        "providers: {openai: {key: sk-canary, credentials: [{key: sk-canary}]}}\n"
    )
    assert "canary" not in render_settings(load_settings().settings)


def test_the_password_of_an_index_is_shown_to_nobody(empty_dir):
    settings = {"catalog": {"index_url": "https://me:canary@index.example/simple"}}
    loaded = load_settings("", settings)
    assert "canary" not in render_settings(loaded.settings)
    assert "canary" in loaded.every_secret(())


@pytest.mark.parametrize("url", ["index.example/simple", "ftp://index.example", "https://"])
def test_an_index_that_is_none_is_named(empty_dir, url):
    with pytest.raises(Fault, match="catalog.index_url: .* is no package index"):
        load_settings("", {"catalog": {"index_url": url}})


def test_every_setting_is_described_and_none_is_left_over():
    assert {path for path, _, _ in iter_settings()} == set(DESCRIPTIONS)


@pytest.mark.parametrize(
    ("file", "render"),
    [
        ("settings.md", render_settings_reference),
        ("settings.schema.json", render_settings_schema),
        ("metrics.md", render_metrics_reference),
        ("providers.md", providers_reference),
        ("../guides/what-changes.md", changes_reference),
    ],
)
def test_the_reference_is_what_the_code_says(file, render):
    assert (ROOT / "docs/reference" / file).read_text() == render(), (
        f"write docs/reference/{file} anew: make docs"
    )


def test_the_schema_accepts_the_sample():
    described = json.loads(render_settings_schema())
    assert set(yaml.safe_load(SAMPLE)) <= set(described["$defs"]["Settings"]["properties"])


def test_every_metric_is_named_after_its_owner():
    assert all(name.startswith(("gatewayz_", "gen_ai_")) for name in FAMILIES)


@pytest.mark.parametrize(
    ("url", "workers", "message"),
    [
        ("", 3, "2 processes can share a SQLite file, not 3"),
        ("sqlite:///x.db", 3, "`gatewayz move --to URL`"),
        ("memory:", 2, "belongs to one process"),
        ("", 0, "0 is not from 1 to 1024"),
    ],
)
def test_as_many_workers_as_can_share_the_database(url, workers, message):
    with pytest.raises(Fault, match="web.workers: ") as caught:
        load_settings("", {"database": {"url": url}, "web": {"workers": workers}})
    assert message in caught.value.message
    assert (
        load_settings(
            "", {"database": {"url": "postgresql://h/d"}, "web": {"workers": 9}}
        ).settings.web.workers
        == 9
    )


@pytest.mark.parametrize("secret", ["a", "short", "fifteen-letters"])
def test_a_secret_that_can_be_guessed_is_refused_with_the_way_out(secret, tmp_path):
    with pytest.raises(Fault) as caught:
        load_settings("", {"data_dir": str(tmp_path), "secret_key": secret})
    assert "openssl rand -hex 32" in caught.value.message
    assert secret not in caught.value.message.split("GATEWAYZ_SECRET_KEY", 1)[1].split(":")[0]
    # As an older one it still verifies what was made with it.
    load_settings(
        "", {"data_dir": str(tmp_path), "secret_key": "x" * 16, "old_secret_keys": [secret]}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routing: {chain: [openai, grok]}", "routing.chain: there is no provider 'grok'; did you mean 'groq'?"),
        ("routing: {locks: [{pattern: x, only: [nobody-at-all]}]}", "routing.locks.0.only: there is no provider"),
        ("routing: {default_providers: {image: deepinfa}}", "did you mean 'deepinfra'?"),
        ("models: [{id: a/b, offers: [{provider: opnai, upstream_id: x}]}]", "models.0.offers.0.provider: there is no provider 'opnai'"),
        ("routing: {breaker: {failures: -1}}", "routing.breaker.failures: -1 is not from 1 to"),
        ("routing: {breaker: {window_share: 1.5}}", "routing.breaker.window_share: 1.5 is not from"),
        ("routing: {deadlines: {total_s: .inf}}", "routing.deadlines.total_s: inf is not from"),
        ("routing: {deadlines: {idle_s: .nan}}", "routing.deadlines.idle_s: nan is not from"),
        ("limits: {key_rpm: 0}", "limits.key_rpm: 0 is not from 1"),
        ("catalog: {sync_every_s: 5}", "catalog.sync_every_s: 5 is not 0, or from 60"),
        ("catalog: {markup_bp: -5}", "catalog.markup_bp: -5 is not from 0"),
        ("providers: {groq: {credentials: [{key: x, weight: 0}]}}", "providers.groq.credentials.0.weight: 0 is not from 1"),
        ("providers: {openai: {priority: -1}}", "providers.openai.priority: -1"),
        ("providers: {openai: {base_url: api.openai.com/v1}}", "providers.openai.base_url: 'api.openai.com/v1' is no base URL"),
        ("providers: {openai: {base_url: 'ftp://x/v1'}}", "is no base URL"),
        ("providers: {openai: {base_url: 'http://x:port/v1'}}", "is no base URL"),
        ("providers: {openai: {base_url: 'http:// x/v1'}}", "is no base URL"),
        ("providers: {openai: {dialect_by_model: {'[': openai_chat}}}", "providers.openai.dialect_by_model: '[' is no regular expression"),
        ("routing: {locks: [{pattern: '('}]}", "routing.locks.0.pattern: '(' is no regular expression"),
        ("web: {trusted_proxies: [10.0.0.0/99]}", "web.trusted_proxies: '10.0.0.0/99' is no network"),
        ("web: {cors_origins: [example.com]}", "web.cors_origins: 'example.com' is no origin"),
        ("web: {hosts: ['https://example.com']}", "web.hosts: 'https://example.com' is no host name"),
        ("web: {port: 1}\nweb: {port: 2}", "'web' is there twice, in lines 1 and 2"),
        ("web: {port: 1, port: 2}", "'port' is there twice"),
        ("providers:\n  openai: {key: a}\n  groq: {key: b}\n  openai: {key: c}", "'openai' is there twice, in lines 2 and 4"),
        ("web: {hosts: a}", "a list is written as [a, b]"),
        ("models: &a [*a]", "holds itself"),
        ("data_dir: ${OPENAI-API-KEY}", "${OPENAI-API-KEY} names nothing"),
        ("secret_key: ${file:/nowhere/secret}", "secret_key: /nowhere/secret cannot be read: No such file"),
        ("secret_key: '${file:.}'", "cannot be read: Is a directory"),
    ],
)  # fmt: skip
def test_ranges_references_and_forms_are_checked_when_they_are_set(empty_dir, text, message):
    (empty_dir / "gatewayz.yaml").write_text(text)
    with pytest.raises(Fault) as caught:
        load_settings()
    assert message in caught.value.message


def test_every_number_has_a_range_and_every_default_is_within_it():
    numbers = {
        path for path, kind, _ in iter_settings() if set(get_args(kind) or (kind,)) & {int, float}
    }
    assert numbers == set(RANGES)
    check_settings(Settings(), {*provider_rows(), "aws-bedrock"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("GATEWAYZ_ROUTING__CHAIN", "openai,groq", "(a list is written as [a, b]) in GATEWAYZ_ROUTING__CHAIN"),
        ("GATEWAYZ_ROUTING__CHAIN", "[openai, groq", "GATEWAYZ_ROUTING__CHAIN cannot be read"),
        ("GATEWAYZ_ROUTING__DEFAULT_PROVIDERS", "{image: openai, image: groq}", "'image' is there twice"),
        ("GATEWAYZ_WEB__PORT", "tcp://10.0.0.1:8080", "web.port: expected `int`"),
    ],
)  # fmt: skip
def test_a_variable_that_is_wrong_is_named(empty_dir, monkeypatch, name, text, message):
    monkeypatch.setenv(name, text)
    with pytest.raises(Fault) as caught:
        load_settings()
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("GATEWAYZ_PORT", "GATEWAYZ_WEB__PORT"),
        ("GATEWAYZ_SERVICE_HOST", ""),
        ("GATEWAYZ_PORT_8080_TCP_ADDR", ""),
        ("GATEWAYZ_WEB__PROT", "GATEWAYZ_WEB__PORT"),
        ("GATEWAYZ_SECRETKEY", "GATEWAYZ_SECRET_KEY"),
        ("GATEWAYZ_DATABASE__URL__X", "GATEWAYZ_DATABASE__URL"),
        ("GATEWAYZ_", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_passed_over_and_named(empty_dir, monkeypatch, name, near):
    monkeypatch.setenv(name, "tcp://10.0.0.1:8080")
    loaded = load_settings()
    assert loaded.settings == Settings()
    [warning] = loaded.warnings
    assert warning.startswith(f"{name} is no setting")
    assert near in warning


def test_a_text_may_come_from_a_file_and_may_say_what_looks_like_a_reference(
    empty_dir, monkeypatch
):
    (empty_dir / "key").write_text("sk-from-a-file\n")
    (empty_dir / "secret").write_text("s" * 40 + "\r\n")
    monkeypatch.setenv("GATEWAYZ_SECRET_KEY", "${file:secret}")
    (empty_dir / "gatewayz.yaml").write_text(
        "providers:\n  openai: {key: '${file:key}'}\n  groq: {key: 'a$${b}$'}\n"
        "  cerebras: {key: '${NOPE_KEY}'}\n"
    )
    loaded = load_settings()
    table = providers(loaded)
    assert loaded.secret_key.reveal() == "s" * 40
    assert table["openai"].credentials[0].key.reveal() == "sk-from-a-file"
    assert table["groq"].credentials[0].key.reveal() == "a${b}$"
    assert (table["cerebras"].off, table["cerebras"].credentials) == ("set NOPE_KEY", ())


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff", b"x" * 70_000])
def test_a_file_that_holds_no_text_is_refused_by_its_name(empty_dir, content):
    (empty_dir / "file").write_bytes(content)
    (empty_dir / "gatewayz.yaml").write_text("secret_key: '${file:file}'\n")
    with pytest.raises(Fault, match="secret_key: file "):
        load_settings()
