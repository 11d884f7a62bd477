"""The partitioned event table. Months are added ahead by a task; the default partition catches whatever has none yet."""

from django.db import migrations

FORWARD = """
CREATE TABLE usage_event (
    organization_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    source text NOT NULL,
    api_key_id bigint,
    external_id text NOT NULL,
    request_id text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    maker text NOT NULL,
    tier text NOT NULL,
    model_reported text NOT NULL,
    harness text NOT NULL,
    harness_version text NOT NULL,
    gateway text NOT NULL,
    team_id bigint,
    project_id bigint,
    member_id bigint,
    team_label text NOT NULL,
    project_label text NOT NULL,
    member_label text NOT NULL,
    session text NOT NULL,
    parent_session text NOT NULL,
    task text NOT NULL,
    trace text NOT NULL,
    parent text NOT NULL,
    role text NOT NULL,
    task_class text NOT NULL,
    environment text NOT NULL,
    input_tokens bigint CHECK (input_tokens >= 0),
    cache_read_tokens bigint CHECK (cache_read_tokens >= 0),
    cache_write_5m_tokens bigint CHECK (cache_write_5m_tokens >= 0),
    cache_write_1h_tokens bigint CHECK (cache_write_1h_tokens >= 0),
    output_tokens bigint CHECK (output_tokens >= 0),
    reasoning_tokens bigint CHECK (reasoning_tokens >= 0),
    units jsonb,
    latency_ms integer,
    ttft_ms integer,
    status text NOT NULL,
    reported_cost numeric(28,15),
    reported_currency text NOT NULL,
    billing_mode text NOT NULL,
    cost numeric(28,15) CHECK (cost >= 0),
    currency text NOT NULL,
    price_id bigint,
    authorization_id uuid,
    is_after_freeze boolean NOT NULL DEFAULT false,
    tags jsonb,
    PRIMARY KEY (organization_id, occurred_at, id)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX usage_event_session ON usage_event (organization_id, session, occurred_at) WHERE session <> '';
CREATE TABLE usage_event_default PARTITION OF usage_event DEFAULT;
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, "DROP TABLE usage_event;")]
