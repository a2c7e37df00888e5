"""Routes."""

from django.contrib import admin
from django.urls import path

from tests.django.project.accounts import views
from tests.django.project.monitors import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("sign-in", views.sign_in),
    path("sign-out", views.sign_out),
    path("profile", views.profile),
    path("about", views.about),
    path("api/checks", api.create),
    path("api/checks/<int:pk>/pause", api.pause),
    path("api/checks/<int:pk>/delete", api.delete),
]
