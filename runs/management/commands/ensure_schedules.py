"""Makes django-q2's rows for what the hub has done by the clock. Running it again changes nothing."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone
from django_q.models import Schedule

SCHEDULES = {
    "workflowhub sweep": ("runs.reconciler.tasks.sweep_all", Schedule.MINUTES, 1),
    "workflowhub canary": ("runs.reconciler.tasks.canary", Schedule.MINUTES, 1),
    "workflowhub cleanup": ("runs.reconciler.tasks.cleanup", Schedule.DAILY, None),
}


class Command(BaseCommand):
    help = "Seeds the schedules of the background jobs: sync, cleanup and the canary."

    def handle(self, *args: Any, **options: Any) -> None:
        made = [name for name in SCHEDULES if self._ensure(name)]
        if options["verbosity"] > 0:
            self.stdout.write(f"Schedules made: {', '.join(made) or 'none, all are there'}.")

    def _ensure(self, name: str) -> bool:
        """Whether it had to be made. Keeps the time of the next run, and drops doubles."""
        func, kind, minutes = SCHEDULES[name]
        with transaction.atomic():
            rows = list(Schedule.objects.select_for_update().filter(name=name).order_by("pk"))
            if not rows:
                Schedule.objects.create(
                    name=name,
                    func=func,
                    schedule_type=kind,
                    minutes=minutes,
                    next_run=self._first_run(kind),
                )
                return True
            Schedule.objects.filter(pk__in=[row.pk for row in rows[1:]]).delete()
            Schedule.objects.filter(pk=rows[0].pk).exclude(
                func=func, schedule_type=kind, minutes=minutes, repeats=-1
            ).update(func=func, schedule_type=kind, minutes=minutes, repeats=-1)
        return False

    @staticmethod
    def _first_run(kind: str) -> Any:
        now = timezone.now()
        if kind != Schedule.DAILY:
            return now
        night = now.replace(hour=3, minute=17, second=0, microsecond=0)
        return night if night > now else night + timedelta(days=1)
