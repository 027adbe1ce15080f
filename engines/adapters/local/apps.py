from django.apps import AppConfig


class LocalEngineConfig(AppConfig):
    name = "engines.adapters.local"
    label = "local_engine"
    verbose_name = "Built-in engine"
