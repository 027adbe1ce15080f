"""What the demonstration tells of: workflows as a small data team has them, how long their steps take, and
what goes wrong in them. Their definitions can be started; then each step sleeps for `pace` seconds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

BUILT_IN, CLUSTER = "builtin", "gpu-cluster"  # engines
LABEL = {"demo": "true"}


@dataclass(frozen=True, slots=True)
class DemoStep:
    """`seconds`: what it takes at the median; `instances` above 0: it is mapped."""

    name: str
    needs: tuple[str, ...]
    seconds: float
    instances: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that goes wrong in a step, in this `share` of the runs that began between so many days
    ago. `{n}` in the error is a number. `retried`: the share after which a person retries it, and it
    works; `rerun`: the share after which one starts a new run instead."""

    step: str
    share: float
    error: str
    log: tuple[str, ...]
    days: tuple[float, float] = (31, 0)
    retried: float = 0.0
    rerun: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A workflow and its month. `slower`: how much longer it takes at the end than at the beginning."""

    title: str
    description: str
    every: timedelta
    by: str
    labels: Mapping[str, str]
    steps: tuple[DemoStep, ...]
    flaws: tuple[Flaw, ...]
    samples: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    engine: str = BUILT_IN
    scheduled: bool = False
    slower: float = 1.0

    def definition(self) -> str:
        """In the hub's own format."""
        parameters: dict[str, Any] = {
            name: {
                "type": "string" if isinstance(values[0], str) else "integer",
                "default": values[0],
            }
            for name, values in self.samples.items()
        }
        parameters["pace"] = {
            "type": "number",
            "default": 2,
            "minimum": 0,
            "maximum": 3600,
            "description": "Seconds that each step sleeps.",
        }
        steps: list[dict[str, Any]] = []
        for step in self.steps:
            spec: dict[str, Any] = {"name": step.name, "handler": "sleep"}
            if step.needs:
                spec["needs"] = list(step.needs)
            if step.instances:
                spec["for_each"] = list(range(step.instances))
            steps.append(spec | {"with": {"seconds": "${params.pace}"}})
        return json.dumps(
            {
                "title": self.title,
                "description": self.description,
                "labels": {**LABEL, **self.labels},
                "parameters": parameters,
                "steps": steps,
            },
            indent=2,
        )


STORIES = (
    Story(
        title="Shop health",
        description="Looks whether the shop answers, every quarter of an hour.",
        every=timedelta(minutes=15),
        by="demo-scheduler",
        scheduled=True,
        labels={"team": "shop", "tier": "gold"},
        steps=(
            DemoStep("front-page", (), 0.8),
            DemoStep("search", (), 1.4),
            DemoStep("checkout", ("front-page", "search"), 2.2),
        ),
        flaws=(
            Flaw(
                step="checkout",
                share=0.006,
                error="HTTPStatusError: 503 Service Unavailable from /checkout after {n} ms",
                log=("POST /checkout", "waiting for an answer", "answer: 503 Service Unavailable"),
                rerun=0.6,
            ),
            Flaw(
                step="search",
                share=0.16,
                error="ReadTimeout: no answer from /search within 10 s (try {n})",
                log=("GET /search?q=lamp", "no answer for 5 s", "no answer for 10 s"),
                days=(6.2, 5.9),
            ),
        ),
    ),
    Story(
        title="Orders import",
        description="Brings the day's orders into the warehouse, hour by hour.",
        every=timedelta(hours=1),
        by="demo-scheduler",
        scheduled=True,
        labels={"team": "data", "tier": "gold"},
        slower=1.7,
        steps=(
            DemoStep("list-files", (), 4),
            DemoStep("fetch", ("list-files",), 40, instances=4),
            DemoStep("validate", ("fetch",), 25),
            DemoStep("load", ("validate",), 180),
            DemoStep("refresh-views", ("load",), 60),
        ),
        samples={"source": ("eu", "us", "apac"), "batch_size": (5000, 5000, 10000)},
        flaws=(
            Flaw(
                step="load",
                share=0.03,
                error='UniqueViolation: duplicate key value violates unique constraint "orders_pkey"'
                "\nDETAIL:  Key (order_id)=({n}) already exists.",
                log=(
                    "COPY orders_stage: 48210 rows",
                    "INSERT INTO orders SELECT … FROM orders_stage",
                ),
                retried=0.4,
            ),
            Flaw(
                step="fetch",
                share=0.02,
                error="ConnectionResetError: [Errno 104] Connection reset by peer",
                log=("opening sftp://orders", "orders-{n}.csv: 12 of 31 MB"),
                retried=0.9,
            ),
            Flaw(
                step="validate",
                share=0.7,
                error="SchemaError: column 'discount_code' is not in the contract (file {n})",
                log=("reading the contract v14", "checking 31 columns"),
                days=(0.4, 0.0),
            ),
        ),
    ),
    Story(
        title="Genome assembly",
        description="Assembles the reads of one sample and annotates the result.",
        every=timedelta(hours=5),
        by="demo-analyst",
        labels={"team": "genomics", "tier": "silver"},
        steps=(
            DemoStep("trim", (), 420),
            DemoStep("quality", (), 150),
            DemoStep("assemble", ("trim",), 3900),
            DemoStep("polish", ("assemble",), 1300),
            DemoStep("annotate", ("polish",), 900),
            DemoStep("report", ("annotate", "quality"), 30),
        ),
        samples={
            "sample": tuple(f"S{number:03}" for number in range(101, 161)),
            "coverage": (30, 30, 60, 100),
        },
        flaws=(
            Flaw(
                step="assemble",
                share=0.12,
                error="MemoryError: the assembler was killed at {n} MiB (limit 65536 MiB)",
                log=("k = 21", "k = 33", "graph: 18,402,113 nodes", "k = 55", "Killed"),
                rerun=0.5,
            ),
        ),
    ),
    Story(
        title="Recommender training",
        description="Trains the recommender in five folds on the GPU cluster.",
        every=timedelta(hours=8),
        by="demo-analyst",
        engine=CLUSTER,
        labels={"team": "research", "gpu": "true"},
        steps=(
            DemoStep("features", (), 700),
            DemoStep("train", ("features",), 5200, instances=5),
            DemoStep("evaluate", ("train",), 240),
            DemoStep("publish", ("evaluate",), 15),
        ),
        samples={"learning_rate": ("0.001", "0.0005"), "epochs": (20, 20, 40)},
        flaws=(
            Flaw(
                step="train",
                share=0.1,
                error="RuntimeError: CUDA error: device-side assert triggered at step {n}",
                log=("epoch 11: loss 0.412", "epoch 12: loss 0.409", "epoch 13: loss nan"),
                retried=0.5,
            ),
            Flaw(
                step="evaluate",
                share=0.05,
                error="AssertionError: recall@20 is 0.{n}, below the floor of 0.31",
                log=("loading 5 models", "scoring 120,000 sessions"),
            ),
        ),
    ),
    Story(
        title="Invoice mailing",
        description="Sends the invoices of the last two hours.",
        every=timedelta(hours=2),
        by="demo-operator",
        labels={"team": "finance", "tier": "silver"},
        steps=(
            DemoStep("collect", (), 12),
            DemoStep("render", ("collect",), 35),
            DemoStep("send", ("render",), 50),
        ),
        flaws=(
            Flaw(
                step="send",
                share=0.05,
                error="SMTPServerDisconnected: Connection unexpectedly closed after {n} mails",
                log=("EHLO finance", "220 mail ready", "sent 40 of 96"),
                retried=0.8,
            ),
        ),
    ),
    Story(
        title="Warehouse statistics",
        description="What the board reads on Monday, made every night.",
        every=timedelta(days=1),
        by="demo-scheduler",
        scheduled=True,
        labels={"team": "data", "tier": "bronze"},
        steps=(
            DemoStep("sales", (), 300),
            DemoStep("stock", (), 200),
            DemoStep("forecast", ("sales", "stock"), 900),
            DemoStep("slides", ("forecast",), 60),
        ),
        samples={"quarter": ("Q3", "Q4")},
        flaws=(
            Flaw(
                step="slides",
                share=0.08,
                error="FileNotFoundError: [Errno 2] No such file or directory: 'logo-{n}.svg'",
                log=("theme: board", "page 1 of 14"),
                rerun=1.0,
            ),
        ),
    ),
)
