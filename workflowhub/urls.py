"""Every URL of the hub: the API, what engines call back, and the pages."""

from django.contrib import admin
from django.urls import include, path

from runs.api.docs import Docs, Schema
from runs.api.resources.metrics import Metrics
from workflowhub.discovery import adapter_urlconfs

urlpatterns = [
    path("api/schema", Schema.as_view(), name="api-schema"),
    path("docs", Docs.as_view(), name="docs"),
    path("api/v1/", include("runs.api.urls")),
    path("metrics", Metrics.as_view(), name="metrics"),
    # An adapter that its engine calls back has a urls.py of its own.
    *[path(f"engines/{kind}/", include(urls)) for kind, urls in adapter_urlconfs().items()],
    path("admin/", admin.site.urls),
    path("", include("runs.web.urls")),
]

handler400 = "runs.web.pages.failures.bad_request"
handler403 = "runs.web.pages.failures.forbidden"
handler404 = "runs.web.pages.failures.not_found"
handler500 = "runs.web.pages.failures.broken"
