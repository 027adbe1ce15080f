"""Django's admin over the hub: every table to look at, and the deeds that runs.actions offers.

`base` shows, `deeds` and `adding` act, every other file registers the models of one noun. django-q2's
tables hold pickles, which showing would unpickle: they stay out.
"""

import django_q.admin  # noqa: F401 - registers what is taken out again below
from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

from runs.admin import (  # noqa: F401 - each registers its models
    access,
    children,
    engines,
    events,
    executions,
    labels,
    operators,
    processes,
    runs,
    secrets,
    tasks,
    users,
    workflows,
)

for pickled in (Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(pickled):
        admin.site.unregister(pickled)

admin.site.site_header = admin.site.site_title = "WorkflowHub"
admin.site.index_title = "Every table"
admin.site.site_url = "/"
