"""Holds back no more requests than fit while the broker is slow: the others are told at once."""

from gateway.domain import OverloadedError
from gateway.metrics import SubmissionMetrics
from gateway.service.submissions import Publisher
from shared.events import OutgoingMessage


class BoundedPublisher:
    """Publishes through `publisher`, up to `limit` messages at a time.

    Each message waits for its acknowledgement, so the limit bounds what a broker that hangs can
    pile up. The rest is refused before anything is sent: whoever hears that knows that it is safe
    to try again.
    """

    def __init__(self, publisher: Publisher, limit: int, metrics: SubmissionMetrics) -> None:
        self._publisher = publisher
        self._limit = limit
        self._metrics = metrics
        self._under_way = 0

    async def publish_one(self, message: OutgoingMessage) -> None:
        """Publish, and return once the message is acknowledged.

        Raises:
            OverloadedError: where too many are under way; nothing was sent.
            BusUnavailableError: where it is unknown whether the message was stored.

        """
        if self._under_way >= self._limit:
            self._metrics.shed.inc()
            raise OverloadedError
        self._under_way += 1
        try:
            await self._publisher.publish_one(message)
        finally:
            self._under_way -= 1
