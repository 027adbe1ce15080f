from importlib import import_module

from django.apps import AppConfig


class WorkflowHubConfig(AppConfig):
    name = "workflowhub"
    verbose_name = "WorkflowHub"

    def ready(self) -> None:
        import_module("workflowhub.checks")
