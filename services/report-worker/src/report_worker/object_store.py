"""Opening the artifact store."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import ObjectStore, from_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_CONNECT_TIMEOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=30)
_RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


def open_store(url: str) -> ObjectStore:
    """Open `file:///folder` (made when missing) or `s3://bucket/prefix` and its like.

    Endpoint and credentials come from the environment, such as `AWS_*`. An object store that is
    busy or away is asked again for half a minute.
    """
    if urlsplit(url).scheme == "file":
        # Clean-up would remove a folder just made for another attempt's file.
        return from_url(url, mkdir=True, automatic_cleanup=False)
    options: ClientConfig = {"connect_timeout": _CONNECT_TIMEOUT, "timeout": _REQUEST_TIMEOUT}
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true":
        options["allow_http"] = True  # options that are given make the store forget this variable
    return from_url(url, client_options=options, retry_config=_RETRIES)
