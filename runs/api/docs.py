"""/api/schema (OpenAPI 3) and /docs (Swagger UI from the sidecar, with a content policy of its own)."""

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.contrib.auth.decorators import login_required
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from runs.api.permissions import RolePermission
from runs.policy import Action

# Swagger UI draws its icons from data: URLs and sets styles in elements.
POLICY = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "connect-src": [SELF],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}


@extend_schema(exclude=True)
class Schema(SpectacularAPIView):
    needs = {"GET": Action.VIEW}
    permission_classes = [RolePermission]


@method_decorator(login_required, name="dispatch")
@method_decorator(csp_replace(POLICY), name="dispatch")
class Docs(SpectacularSwaggerSplitView):
    needs = {"GET": Action.VIEW}
    permission_classes = [RolePermission]
    url_name = "api-schema"
    title = "WorkflowHub's API"
