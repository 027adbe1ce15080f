import os

from django.core.wsgi import get_wsgi_application

from workflowhub.statements import bound_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workflowhub.settings")
application = get_wsgi_application()
bound_statements()
