from importlib import import_module

from django.apps import AppConfig


class EnginesConfig(AppConfig):
    name = "engines"
    verbose_name = "Engines"

    def ready(self) -> None:
        import_module("engines.checks")
