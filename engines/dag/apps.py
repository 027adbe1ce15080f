from django.apps import AppConfig


class DagConfig(AppConfig):
    name = "engines.dag"
    label = "dag"
    verbose_name = "Step graphs"
