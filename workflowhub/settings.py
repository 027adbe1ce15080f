"""Every setting of the hub. The README lists each variable that is read here.

Nothing has to be set: the default is SQLite and files under WORKFLOWHUB_HOME, on 127.0.0.1.
"""

import secrets
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from csp.constants import NONE, SELF

from workflowhub import discovery, env
from workflowhub.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

# Where it lives
WORKFLOWHUB_HOME = env.home("WORKFLOWHUB_HOME", BASE_DIR / ".hub")
WORKFLOWHUB_URL = env.url("WORKFLOWHUB_URL")
# The address at which workflows find the hub that runs them: `up` puts what it serves at in here.
WORKFLOWHUB_OWN_URL = WORKFLOWHUB_URL
DEBUG = env.flag("WORKFLOWHUB_DEBUG")
ALLOWED_HOSTS = [*env.words("WORKFLOWHUB_ALLOWED_HOSTS"), "127.0.0.1", "localhost", "[::1]"]
SECRET_KEY = env.text("WORKFLOWHUB_SECRET_KEY") or env.key_file(
    WORKFLOWHUB_HOME / "secret_key", lambda: secrets.token_urlsafe(48)
)
# The first key encrypts, all of them decrypt.
WORKFLOWHUB_SECRET_KEYS = env.words("WORKFLOWHUB_SECRET_KEYS") or [
    env.key_file(WORKFLOWHUB_HOME / "secret_keys", lambda: Fernet.generate_key().decode())
]
if WORKFLOWHUB_URL:
    ALLOWED_HOSTS.append(str(urlsplit(WORKFLOWHUB_URL).hostname))
    CSRF_TRUSTED_ORIGINS = [WORKFLOWHUB_URL]
SERVED_BY_HTTPS = WORKFLOWHUB_URL.startswith("https://")
# The hub speaks no TLS itself, so an https address means that a proxy stands in front.
if env.flag("WORKFLOWHUB_BEHIND_PROXY", SERVED_BY_HTTPS):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    USE_X_FORWARDED_HOST = True
    AXES_IPWARE_PROXY_COUNT = 1
    SECURE_SSL_REDIRECT = SERVED_BY_HTTPS
    SECURE_REDIRECT_EXEMPT = [r"^api/v1/health/live$"]  # probes come past the proxy

INSTALLED_APPS = [
    "workflowhub",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_filters",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "template_partials",
    "axes",
    "csp",
    "engines",
    "engines.dag",
    *discovery.adapter_apps(),
    "runs",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "runs.web.zones.LocalTime",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "runs.rollbacks.RetryRolledBack",  # the last: it calls the view
]
ROOT_URLCONF = "workflowhub.urls"
WSGI_APPLICATION = "workflowhub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database
DATABASES = {
    "default": env.database("DATABASE_URL", f"sqlite:///{WORKFLOWHUB_HOME / 'hub.sqlite3'}")
}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: an intent that was committed before a call to an engine outlives a power cut.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;"
        ),
    }
else:
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 10)
WORKFLOWHUB_STATEMENT_TIMEOUT = env.seconds("WORKFLOWHUB_STATEMENT_TIMEOUT", 30)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = WORKFLOWHUB_HOME / "static"
STATIC_ROOT.mkdir(exist_ok=True)
# `up` and `collectstatic` put hashed, compressed copies there; before that they are served as they
# lie in the source.
STATIC_COLLECTED = (STATIC_ROOT / "staticfiles.json").is_file()
WHITENOISE_USE_FINDERS = not STATIC_COLLECTED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "workflowhub.static.HubStaticFilesStorage"},
    "logs": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": env.folder("WORKFLOWHUB_LOG_DIR", WORKFLOWHUB_HOME / "logs"),
            "file_permissions_mode": 0o640,
            "directory_permissions_mode": 0o750,
        },
    },
    # Steps write there themselves, below a folder for each of them.
    "work": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": env.folder("WORKFLOWHUB_WORK_DIR", WORKFLOWHUB_HOME / "work")},
    },
}
LOGGING_CONFIG = None
LOG_LEVEL = env.choice("WORKFLOWHUB_LOG_LEVEL", "INFO", {"DEBUG", "INFO", "WARNING", "ERROR"})
LOG_FORMAT = env.choice("WORKFLOWHUB_LOG_FORMAT", "console", {"console", "json"})
logging_config(LOG_LEVEL, LOG_FORMAT)

# Time and language
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = env.text("WORKFLOWHUB_TIME_ZONE", "UTC")

# Who may come in
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "runs.web.zones.Visitors",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
CSRF_FAILURE_VIEW = "runs.web.pages.failures.forged"
AXES_FAILURE_LIMIT = env.integer("WORKFLOWHUB_LOGIN_ATTEMPTS", 10, least=1)
AXES_COOLOFF_TIME = env.number("WORKFLOWHUB_LOGIN_COOLOFF_HOURS", 0.25)
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "web/locked.html"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SERVED_BY_HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if SERVED_BY_HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if SERVED_BY_HTTPS else "csrftoken"
SECURE_HSTS_SECONDS = 31_536_000 if SERVED_BY_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SERVED_BY_HTTPS
SILENCED_SYSTEM_CHECKS = [
    "security.W021",  # the browsers' preload list is for whole domains: their owner's choice
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "connect-src": [SELF],
        "img-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("WORKFLOWHUB_MAX_BODY_BYTES", 5_000_000)
FILE_UPLOAD_HANDLERS = ["workflowhub.uploads.BoundedUploadHandler"]
WORKFLOWHUB_PERMISSION_FACTORY = env.text("WORKFLOWHUB_PERMISSION_FACTORY")
WORKFLOWHUB_HTTP_ALLOW = env.words("WORKFLOWHUB_HTTP_ALLOW")
WORKFLOWHUB_METRICS_ANONYMOUS = env.flag("WORKFLOWHUB_METRICS_ANONYMOUS")

# Rest API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "runs.api.authentication.TokenAuthentication",
        "runs.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["runs.api.permissions.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["runs.api.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "runs.api.openapi.HubSchema",
    "EXCEPTION_HANDLER": "runs.api.errors.problem_response",
    "URL_FORMAT_OVERRIDE": None,  # formats are negotiated by Accept alone
    "DEFAULT_THROTTLE_CLASSES": ["runs.api.throttling.CallerThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": env.text("WORKFLOWHUB_API_RATE", "6000/min")},
}
SPECTACULAR_SETTINGS = {
    "TITLE": "WorkflowHub",
    "DESCRIPTION": "One REST API over many workflow engines.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RunStateEnum": "engines.states.RunState",
        "TaskStateEnum": "engines.states.TaskState",
        "DeploymentStateEnum": "engines.states.DeploymentState",
        "EngineJobStateEnum": "engines.models.EngineJob.State",
        "BulkActionEnum": "runs.models.bulk_job.BulkJob.Action",
        "FinalRunStateEnum": "runs.api.fields.FINAL_RUN_WORDS",
        "FinalTaskStateEnum": "runs.api.fields.FINAL_TASK_WORDS",
    },
}

# The reconciler: lengths in seconds
WORKFLOWHUB_LEASE = env.seconds("WORKFLOWHUB_LEASE", 10)
WORKFLOWHUB_POLL = env.seconds("WORKFLOWHUB_POLL", 10)
WORKFLOWHUB_ACTIVE_POLL = env.seconds("WORKFLOWHUB_ACTIVE_POLL", 1)
WORKFLOWHUB_ENGINE_DEADLINE = env.seconds("WORKFLOWHUB_ENGINE_DEADLINE", 30)
WORKFLOWHUB_BREAKER_FAILURES = env.integer("WORKFLOWHUB_BREAKER_FAILURES", 5, least=1)
WORKFLOWHUB_BREAKER_PAUSE = env.seconds("WORKFLOWHUB_BREAKER_PAUSE", 30)
WORKFLOWHUB_LOST_AFTER = env.seconds("WORKFLOWHUB_LOST_AFTER", 60)
WORKFLOWHUB_STUCK_AFTER = env.seconds("WORKFLOWHUB_STUCK_AFTER", 180)
WORKFLOWHUB_SUBMIT_QUARANTINE = env.seconds("WORKFLOWHUB_SUBMIT_QUARANTINE", 120)
WORKFLOWHUB_AUTO_RESUME = env.flag("WORKFLOWHUB_AUTO_RESUME", True)

# The built-in engine's workers
WORKFLOWHUB_WORKERS = env.integer("WORKFLOWHUB_WORKERS", 2, least=0, most=64)
WORKFLOWHUB_HEARTBEAT = env.seconds("WORKFLOWHUB_HEARTBEAT", 5)
WORKFLOWHUB_WORKER_LOST_AFTER = env.seconds("WORKFLOWHUB_WORKER_LOST_AFTER", 13)
WORKFLOWHUB_KILL_GRACE = env.seconds("WORKFLOWHUB_KILL_GRACE", 5)
WORKFLOWHUB_HANDLER_MODULES = env.words("WORKFLOWHUB_HANDLER_MODULES", "examples.handlers")
WORKFLOWHUB_MAX_PARALLEL = env.integer("WORKFLOWHUB_MAX_PARALLEL", 16, least=1)
WORKFLOWHUB_BVBRC_MAX_PARALLEL = env.integer("WORKFLOWHUB_BVBRC_MAX_PARALLEL", 2, least=1)
WORKFLOWHUB_RETRIES = env.integer("WORKFLOWHUB_RETRIES", 0)
WORKFLOWHUB_RETRY_DELAY = env.seconds("WORKFLOWHUB_RETRY_DELAY", 1)
WORKFLOWHUB_RETRY_FACTOR = env.number("WORKFLOWHUB_RETRY_FACTOR", 2, least=1, most=10)
WORKFLOWHUB_LOG_MAX_BYTES = env.integer("WORKFLOWHUB_LOG_MAX_BYTES", 10_000_000, least=1000)
WORKFLOWHUB_ARTIFACTS_MAX_BYTES = env.integer(
    "WORKFLOWHUB_ARTIFACTS_MAX_BYTES", 1_000_000_000, least=1000, most=10**15
)
WORKFLOWHUB_ARTIFACTS_MAX_FILES = env.integer(
    "WORKFLOWHUB_ARTIFACTS_MAX_FILES", 10_000, least=10, most=1_000_000
)
WORKFLOWHUB_RUN_LOGS = env.flag("WORKFLOWHUB_RUN_LOGS", True)

# Housekeeping
WORKFLOWHUB_KEEP_ARCHIVED = env.days("WORKFLOWHUB_KEEP_ARCHIVED_DAYS", 30)
WORKFLOWHUB_KEEP_FINISHED = env.days("WORKFLOWHUB_KEEP_FINISHED_DAYS", 90)
WORKFLOWHUB_KEEP_LOGS = env.days("WORKFLOWHUB_KEEP_LOGS_DAYS", 30)
WORKFLOWHUB_KEEP_ARTIFACTS = env.days("WORKFLOWHUB_KEEP_ARTIFACTS_DAYS", 30)
WORKFLOWHUB_EXAMPLES = env.flag("WORKFLOWHUB_EXAMPLES", True)

# django-q2 is the doorbell, never the ledger (docs/decisions/0001): retry > timeout x
# (1 + ceil(queue_limit / workers)), so that no task is handed out again while it runs.
Q_CLUSTER = {
    "name": "workflowhub",
    "orm": "default",
    "workers": 1,
    "timeout": 55,
    "retry": 300,
    "queue_limit": 2,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 50,
    "poll": 1,
    "label": "Background jobs",
    "time_zone": TIME_ZONE,
}
