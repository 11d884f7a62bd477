"""Settings of the baseline: Django with nothing in front of the view, one kept connection for each thread."""

from governance.conf.settings import DATABASES as PRODUCT_DATABASES

DEBUG = False
SECRET_KEY = "not a secret: the baseline keeps nothing"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS: list[str] = []
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.bench.bare.urls"
USE_TZ = True
DATABASES = {"default": {**PRODUCT_DATABASES["default"], "CONN_HEALTH_CHECKS": False}}
