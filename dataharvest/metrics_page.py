"""The metrics as a page for people, written from their declarations so that it can't fall behind."""

from pathlib import Path

from dataharvest.metrics import METRICS
from dataharvest.metrics_endpoint import PORTS_TRIED
from dataharvest.settings import Settings

HOST = Settings.model_fields["metrics_host"].default
PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def metrics_page() -> str:
    """The page, in Markdown."""
    rows = [
        f"| `{one.name}` | {one.kind} | {one.unit} | {', '.join(f'`{label}`' for label in one.labels) or '–'} | {one.meaning} |"
        for one in METRICS.values()
    ]
    return "\n".join([_HEAD, "| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|", *rows]) + "\n"


_HEAD = f"""# Metrics

With `DATAHARVEST_METRICS_PORT=9100` a worker or splitter answers Prometheus on `http://{HOST}:9100/metrics`; without it no
port is open. Several processes of a machine may have the same setting: each takes the first free port of the {PORTS_TRIED}
from there on, and its log line `metrics are served` names it. Let Prometheus scrape them all:

```yaml
rule_files: [alerts.yaml]
scrape_configs:
  - job_name: dataharvest
    static_configs:
      - targets: ["{HOST}:9100", "{HOST}:9101", "{HOST}:9102"]
```

`DATAHARVEST_METRICS_HOST=0.0.0.0` opens the port to other machines, too. [docker/compose.yaml](../docker/compose.yaml) says so
and publishes no port: a Prometheus in that network finds every replica by its service's name.

```yaml
scrape_configs:
  - job_name: dataharvest
    dns_sd_configs:
      - {{names: [worker, split], type: A, port: 9100}}
```

[docker/alerts.yaml](../docker/alerts.yaml) has alert rules. Counters and histograms belong to one process: add them up. Gauges
but `process_*` say the same in every process, of all: take the maximum. No metric has a label for the tenant;
`dataharvest status` says which set is meant, and why. `dataharvest web` answers at `/metrics` of its own port.
"""


if __name__ == "__main__":
    PAGE.write_text(metrics_page(), "utf-8")
