"""Django application that holds the operators' commands."""

from django.apps import AppConfig


class ConfConfig(AppConfig):
    name = "governance.conf"
    label = "conf"
