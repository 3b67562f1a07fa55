"""The web application: routes found in the folder, the error table, the guards."""

import pkgutil
from importlib import import_module

from fastapi import FastAPI

from api import errors, routes
from api.guards import Door, HostGuard, guarded, known_hosts
from config.settings import Settings
from services import call_webhooks
from services.monitoring import version


def create_app(settings: Settings) -> FastAPI:
    """Return the application; each of its routes says who may use it, or there is none.

    Raises:
        ConfigurationError: a route does not.
    """
    app = FastAPI(title="CSAI background service", version=version(), docs_url=None, redoc_url=None, openapi_url=None)
    app.state.door = Door(settings)
    errors.install(app)
    for module in pkgutil.iter_modules(routes.__path__):
        app.include_router(guarded(import_module(f"api.routes.{module.name}").router))
    call_webhooks.load()
    app.add_middleware(HostGuard, hosts=known_hosts(settings))
    return app
