"""Settings. Everything that differs between installations comes from the environment; see docs/operations.md."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from governance.conf import embedded, secret

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VAR_DIR = Path(os.environ.get("VAR") or BASE_DIR / "var").absolute()


def flag(name: str, default: bool) -> bool:
    """A yes/no environment variable."""
    value = os.environ.get(name, "").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value == "":
        return default
    raise ImproperlyConfigured(f"{name}={value!r}: say 1 or 0")


def stream_url(public_url: str) -> str:
    """The port after the page's; the page's own address where it names no port."""
    where = urlsplit(public_url)
    return f"{where.scheme}://{where.netloc.rpartition(':')[0]}:{where.port + 1}" if where.port else public_url


DEBUG = flag("DEBUG", default=False)
DATABASE_URL = os.environ.get("DATABASE_URL", "")
BROKER_URL = os.environ.get("BROKER_URL", "")
# Which servers are our own, because the environment names no other.
EMBEDDED = [part for part, url in (("postgres", DATABASE_URL), ("valkey", BROKER_URL)) if not url]
SECRET_KEY = os.environ.get("SECRET_KEY") or secret.kept_in(VAR_DIR)
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in os.environ.get("TRUSTED_ORIGINS", "").split(",") if origin]
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://localhost:8000").rstrip("/")
# Where `manage.py stream` answers, as programs reach it: the port after the page's, or the page's own address behind a proxy that tells them apart.
STREAM_URL = (os.environ.get("STREAM_URL") or stream_url(PUBLIC_URL)).rstrip("/")
IS_SERVED_BY_TLS = PUBLIC_URL.startswith("https://")
# One-click sign-in as the people of the demo organization; `up` sets it when only this machine can reach the page.
DEMO_SIGN_IN = flag("WEIGHHOUSE_DEMO_SIGN_IN", default=False)

INSTALLED_APPS = [
    "governance.conf",
    "governance.tenancy",
    "governance.audit",
    "governance.attribution",
    "governance.pricing",
    "governance.budgets",
    "governance.billing",
    "governance.approvals",
    "governance.notices",
    "ingest",
    "dashboards",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "django_htmx",
    "drf_spectacular",
    "rest_framework",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "governance.tenancy.direction.KeepDirection",
    "governance.tenancy.unstorable.RefuseNul",
]
# What stands before the addresses for programs, which know no cookies and show no page.
MACHINE_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "governance.tenancy.unstorable.RefuseNul",
]

ROOT_URLCONF = "governance.conf.urls"
WSGI_APPLICATION = "governance.conf.wsgi.application"
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
                "dashboards.context.page",
            ],
        },
    }
]

DATABASES: dict[str, Any] = {
    "default": {
        **dj_database_url.parse(DATABASE_URL or embedded.database_url(VAR_DIR)),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": False,
    }
}
# Set-based statements (governance/sql.py) keep their plans on the server; behind a transaction-pooling proxy set it to 0.
DATABASES["default"].setdefault("OPTIONS", {})["prepare_threshold"] = int(os.environ.get("DATABASE_PREPARE_THRESHOLD", "3")) or None
# Attempts to sign in are counted here, by all web processes together. Many more entries than an attacker can make in the minutes they count.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "shared_cache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "governance.tenancy.accounts.ClosedSignup"
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/sign-in"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
# `up` collects the files and sets this for the server it starts: names with a hash, compressed, cached for ever.
# Without it they are served as they lie in the source.
STATIC_COLLECTED = flag("STATIC_COLLECTED", default=False)
STATIC_ROOT = VAR_DIR / "static" if STATIC_COLLECTED else None
WHITENOISE_USE_FINDERS = not STATIC_COLLECTED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "dashboards.finders.PlotlyFinder",
]

EMAIL_BACKEND = os.environ.get("EMAIL_BACKEND", "governance.conf.mail.LogBackend")
EMAIL_HOST = os.environ.get("EMAIL_HOST", "localhost")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "25"))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_TIMEOUT = 20
EMAIL_USE_TLS = flag("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "weighhouse@localhost")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["governance.tenancy.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["governance.tenancy.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["governance.tenancy.rendering.JsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "governance.tenancy.rendering.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "governance.tenancy.problems.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Weighhouse",
    "DESCRIPTION": "Usage in, authorizations, sessions, approvals.",
    "VERSION": "1",
    "POSTPROCESSING_HOOKS": ["governance.tenancy.openapi.completed"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, "'unsafe-inline'"],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = IS_SERVED_BY_TLS
CSRF_COOKIE_SECURE = IS_SERVED_BY_TLS
SECURE_SSL_REDIRECT = IS_SERVED_BY_TLS and flag("TLS_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000 if IS_SERVED_BY_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_SERVED_BY_TLS
SECURE_HSTS_PRELOAD = IS_SERVED_BY_TLS
# The proxy's word on scheme and address of the client is taken only where the operator says there is one.
BEHIND_PROXY = flag("BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Webhooks and Slack channels may then be inside one's own network, and by plain http; never link-local, metadata or multicast addresses.
WEBHOOKS_ALLOW_PRIVATE = flag("WEBHOOKS_ALLOW_PRIVATE", default=False)

# Which price lists are read daily: PRICE_SOURCES= (empty) reads none. A mirror inside one's own network takes the place of a list's address.
PRICE_SOURCES = [name.strip() for name in os.environ.get("PRICE_SOURCES", "genai-prices,openrouter,litellm").split(",") if name.strip()]
PRICE_SOURCE_ADDRESSES = {
    "genai-prices": os.environ.get("PRICE_SOURCE_GENAI_PRICES", ""),
    "openrouter": os.environ.get("PRICE_SOURCE_OPENROUTER", ""),
    "litellm": os.environ.get("PRICE_SOURCE_LITELLM", ""),
}
# Whose people decide about the price book that all organizations share, by slug. None: an organization that has the installation to itself.
PRICE_KEEPERS = [name.strip() for name in os.environ.get("PRICE_KEEPERS", "").split(",") if name.strip()]
PRICE_SOURCES_ALLOW_PRIVATE = flag("PRICE_SOURCES_ALLOW_PRIVATE", default=False)

FILE_UPLOAD_HANDLERS = ["governance.conf.uploads.BoundedUpload"]
# Ingest limits, stated in docs/api.md. The view reads the body itself, in pieces, so Django's own limit does not apply.
INGEST_MAX_BODY_BYTES = 32 * 1024 * 1024
INGEST_MAX_DECODED_BYTES = 64 * 1024 * 1024
INGEST_MAX_EVENTS = 10_000

CELERY_BROKER_URL = BROKER_URL or embedded.broker_url(VAR_DIR)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 900
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_REDIRECT_STDOUTS = False
# In memory: a file that beat is killed over is broken, and the worker asks for what is rare when it starts.
CELERY_BEAT_SCHEDULER = "celery.beat.Scheduler"
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "governance.conf.tasks.heartbeat", "schedule": 5.0, "options": {"expires": 5}},
    "holds-expire": {"task": "governance.budgets.tasks.holds_expire", "schedule": 5.0},
    "topups-expire": {"task": "governance.budgets.tasks.topups_expire", "schedule": 5.0},
    "periods-roll": {"task": "governance.budgets.tasks.periods_roll", "schedule": 30.0},
    "periods-slide": {"task": "governance.budgets.tasks.periods_slide", "schedule": 60.0},
    "refusals-fold": {"task": "governance.budgets.tasks.refusals_fold", "schedule": 60.0},
    "session-links-forget": {"task": "governance.budgets.tasks.links_forget", "schedule": 86400.0},
    "forecasts-look": {"task": "governance.budgets.tasks.forecasts_look", "schedule": 600.0},
    "requests-expire": {"task": "governance.approvals.tasks.requests_expire", "schedule": 60.0},
    "notices-deliver": {"task": "governance.notices.tasks.notices_deliver", "schedule": 5.0},
    "deliveries-send": {"task": "governance.notices.tasks.deliveries_send", "schedule": 5.0, "options": {"expires": 60}},
    "team-digests-write": {"task": "governance.notices.tasks.team_digests_write", "schedule": 60.0},
    "outbox-forget": {"task": "governance.notices.tasks.outbox_forget", "schedule": 86400.0},
    "guard-look": {"task": "ingest.guard.tasks.guard_look", "schedule": 60.0, "options": {"expires": 60}},
    "rerating-look": {"task": "ingest.rerating.tasks.rerating_look", "schedule": 20.0, "options": {"expires": 20}},
    "quarantine-look": {"task": "ingest.quarantine.tasks.quarantine_look", "schedule": 60.0, "options": {"expires": 60}},
    "imports-look": {"task": "ingest.importing.tasks.imports_look", "schedule": 20.0, "options": {"expires": 20}},
    "import-files-forget": {"task": "ingest.importing.tasks.import_files_forget", "schedule": 86400.0},
    "prices-sync": {"task": "governance.pricing.tasks.prices_sync", "schedule": 86400.0, "options": {"expires": 3600}},
    "price-changes-tell": {"task": "ingest.price_changes.tasks.price_changes_tell", "schedule": 60.0, "options": {"expires": 60}},
    "guard-forget": {"task": "ingest.guard.tasks.guard_forget", "schedule": 86400.0},
    "rates-read": {"task": "governance.pricing.tasks.rates_read", "schedule": 21600.0, "options": {"expires": 3600}},
    "hardware-months-fix": {"task": "ingest.tasks.hardware_months_fix", "schedule": 21600.0, "options": {"expires": 3600}},
    "partitions-ensure": {"task": "ingest.tasks.partitions_ensure", "schedule": 3600.0},
    "partitions-retain": {"task": "ingest.tasks.partitions_retain", "schedule": 86400.0},
    "idempotency-keys-forget": {"task": "ingest.tasks.idempotency_keys_forget", "schedule": 3600.0},
    "sightings-pass": {"task": "ingest.once.tasks.sightings_pass", "schedule": 30.0, "options": {"expires": 30}},
    "signals-forget": {"task": "ingest.tasks.signals_forget", "schedule": 3600.0},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"news": {"()": "governance.conf.logs.NewsOnly"}, "once": {"()": "governance.conf.logs.OnceInAWhile"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["news", "once"]}},
    # One line for every request made or task run would bury what matters.
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "celery", "kombu", "amqp", "stamina")},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
}
