"""Pages: overview."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

from dashboards.access import PageRequest, page
from governance.tenancy.access import Right


@page(Right.VIEW_SPEND)
def overview(request: PageRequest) -> HttpResponse:
    return render(request, "overview/overview.html", {})


urlpatterns = [path("", overview, name="overview")]
