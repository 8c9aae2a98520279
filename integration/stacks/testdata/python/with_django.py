"""Django: see README.md."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of no use here")


def seen(request):
    answer = JsonResponse({
        "greeting": "Så " + request.headers.get("X-Vipps-Name", ""),
        "sub": request.headers.get("X-Vipps-Sub"),
        "cookie": request.headers.get("Cookie"),
        "headers": dict(request.headers),
    })
    if "sid=" not in request.headers.get("Cookie", ""):
        answer["Set-Cookie"] = "sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax"
    return answer


urlpatterns = [re_path(r"", seen)]
application = get_wsgi_application()
