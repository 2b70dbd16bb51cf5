"""Where webhooks may go: callback URLs and the addresses behind them."""

from shared.callback.addresses import Address, Network, denial
from shared.callback.url import (
    CallbackPolicy,
    CallbackUrl,
    CallbackUrlError,
    RefusalCode,
    check_callback_url,
)

__all__ = [
    "Address",
    "CallbackPolicy",
    "CallbackUrl",
    "CallbackUrlError",
    "Network",
    "RefusalCode",
    "check_callback_url",
    "denial",
]
