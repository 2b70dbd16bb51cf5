"""The notifier's use cases: taking webhooks in, and sending them until they are done with."""

from notifier.service.deliveries import Deliveries, DeliveryRules
from notifier.service.purging import Purger
from notifier.service.sender import Sender, SenderTimes

__all__ = ["Deliveries", "DeliveryRules", "Purger", "Sender", "SenderTimes"]
