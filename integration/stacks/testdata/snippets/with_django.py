import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use here",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ["RUN"], "django.sqlite3")}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        __name__ + ".VippsUserMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
)
django.setup()
call_command("migrate", verbosity=0)

# SNIPPET middleware


def utf8(request):
    # SNIPPET utf8
    return JsonResponse({"sub": sub, "name": name, "address": address})


def percent(request):
    # SNIPPET percent
    return JsonResponse({"sub": sub, "name": name, "address": address})


def base64url(request):
    # SNIPPET base64url
    return JsonResponse({"sub": sub, "name": name, "address": address})


def user(request):
    """Whom Django's own users have as the one of this request."""
    return JsonResponse({"sub": request.user.username if request.user.is_authenticated else None, "name": ""})


urlpatterns = [path("utf8", utf8), path("percent", percent), path("base64url", base64url), path("user", user)]
application = get_wsgi_application()
