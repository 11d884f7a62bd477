"""The baseline's addresses. The product's urlconf does not know them."""

from django.urls import path

from tests.bench.bare.views import hold, hold_one, store

urlpatterns = [path("store", store), path("hold", hold), path("hold-one", hold_one)]
